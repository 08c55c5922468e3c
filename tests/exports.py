"""Ten exports as people have them, with the schema of their dataset, and where each column belongs.

The headers are those of real systems, and their values are invented.
"""

import json
from dataclasses import dataclass
from typing import Any

from tests.unit.content.xdm_samples import (
    BOOLEAN,
    DATE,
    EVENT,
    IDENTITIES,
    MOMENT,
    TEXT,
    a_list,
    an_object,
    number,
    schema,
    text,
)

NUMBER, INT = number("number"), number("int")
EMAIL = an_object("address", address=text(format="email", minLength=1), status=TEXT)
PHONE = an_object(number=TEXT, extension=TEXT, primary=BOOLEAN)
ADDRESS = an_object(
    **dict.fromkeys(("label", "street1", "street2", "city", "stateProvince"), TEXT),
    **dict.fromkeys(("postalCode", "country", "countryCode", "region"), TEXT),
    _schema=an_object(latitude=NUMBER, longitude=NUMBER),
)


def profile(**members: Any) -> dict[str, Any]:
    """An individual profile as most have it, with fields of a tenant called acme."""
    return schema(
        _id=TEXT,
        createdByBatchID=TEXT,
        _repo=an_object(createDate=MOMENT, modifyDate=MOMENT),
        identityMap=IDENTITIES,
        person=an_object(
            name=an_object(
                **dict.fromkeys(("courtesyTitle", "firstName", "middleName", "lastName"), TEXT),
                **dict.fromkeys(("fullName", "suffix"), TEXT),
            ),
            gender=text(enum=["male", "female", "not_specified", "non_specific"]),
            birthDate=DATE,
            birthYear=number("short", minimum=1, maximum=32767),
            nationality=TEXT,
            maritalStatus=TEXT,
        ),
        personalEmail=EMAIL,
        homePhone=PHONE,
        mobilePhone=PHONE,
        faxPhone=PHONE,
        homeAddress=ADDRESS,
        mailingAddress=ADDRESS,
        preferredLanguage=TEXT,
        timeZone=TEXT,
        _acme=an_object(**members),
    )


def events(**members: Any) -> dict[str, Any]:
    """Experience events of a site and a shop, with fields of a tenant called acme."""
    item = an_object(SKU=TEXT, name=TEXT, quantity=INT, priceTotal=NUMBER, currencyCode=TEXT)
    order = an_object(
        purchaseID=TEXT,
        purchaseOrderNumber=TEXT,
        priceTotal=NUMBER,
        taxAmount=NUMBER,
        discountAmount=NUMBER,
        currencyCode=TEXT,
    )
    return schema(
        "_id",
        "timestamp",
        of=EVENT,
        _id=text(format="uri-reference"),
        timestamp=MOMENT,
        eventType=TEXT,
        producedBy=TEXT,
        identityMap=IDENTITIES,
        commerce=an_object(
            order=order,
            billing=an_object(address=ADDRESS),
            shipping=an_object(address=ADDRESS, shippingMethod=TEXT, shippingAmount=NUMBER),
        ),
        productListItems=a_list(item),
        web=an_object(
            webPageDetails=an_object(URL=TEXT, name=TEXT, server=TEXT, siteSection=TEXT),
            webReferrer=an_object(URL=TEXT, type=TEXT),
            webInteraction=an_object(name=TEXT, URL=TEXT, type=TEXT),
        ),
        device=an_object(type=TEXT, manufacturer=TEXT, model=TEXT, screenHeight=INT),
        environment=an_object(
            type=TEXT,
            operatingSystem=TEXT,
            operatingSystemVersion=TEXT,
            ipV4=text(format="ipv4"),
            browserDetails=an_object(name=TEXT, version=TEXT, userAgent=TEXT),
        ),
        placeContext=an_object(
            geo=an_object(city=TEXT, countryCode=TEXT, stateProvince=TEXT, postalCode=TEXT),
        ),
        marketing=an_object(trackingCode=TEXT, campaignGroup=TEXT, campaignName=TEXT),
        _acme=an_object(**members),
    )


@dataclass(frozen=True)
class Export:
    """A file, the schema of its dataset, and the paths of the columns that have one there."""

    file: str
    content: bytes
    schema: dict[str, Any]
    input_format: dict[str, Any]
    paths: dict[str, str]


def csv(header: str, *rows: str, charset: str = "utf-8", end: str = "\n") -> bytes:
    """The bytes of a CSV."""
    return "".join(f"{line}{end}" for line in (header, *rows)).encode(charset)


CRM_GERMAN = Export(
    "Kundenexport_2026-11-27.csv",
    csv(
        "Kundennr;Anrede;Vorname;Nachname;Geburtsdatum;Geschlecht;E-Mail;Telefon;Mobil;Straße;PLZ;"
        "Ort;Land;Kundentyp;Umsatz_Gesamt;Letzter_Kauf;Newsletter",
        "100017;Frau;Jörg-Änne;Müller;03.05.1978;w;anne@example.org;030 1234;0171 999;Hauptstr. 1;"
        "10115;Berlin;DE;Privat;1.234,50;24.12.2025;ja",
        "100018;Herr;Karl;Weiß;31.01.1990;m;karl@example.org;;0160 12;Am Wall 3;01067;Dresden;DE;"
        "Firma;12,00;02.03.2026;nein",
        "100019;Herr;Ole;Groß;17.11.1966;m;ole@example.org;040 77;;Süderweg 9;20095;Hamburg;DE;"
        "Privat;0,99;13.10.2026;ja",
        charset="iso8859-1",
        end="\r\n",
    ),
    profile(
        customerId=TEXT,
        customerType=TEXT,
        totalRevenue=NUMBER,
        lastPurchaseDate=DATE,
        newsletter=BOOLEAN,
    ),
    {"format": "csv", "delimiter": ";", "charset": "ISO-8859-1"},
    {
        "Kundennr": "_acme.customerId",
        "Anrede": "person.name.courtesyTitle",
        "Vorname": "person.name.firstName",
        "Nachname": "person.name.lastName",
        "Geburtsdatum": "person.birthDate",
        "Geschlecht": "person.gender",
        "E-Mail": "personalEmail.address",
        "Telefon": "homePhone.number",
        "Mobil": "mobilePhone.number",
        "Straße": "homeAddress.street1",
        "PLZ": "homeAddress.postalCode",
        "Ort": "homeAddress.city",
        "Land": "homeAddress.country",
        "Kundentyp": "_acme.customerType",
        "Umsatz_Gesamt": "_acme.totalRevenue",
        "Letzter_Kauf": "_acme.lastPurchaseDate",
        "Newsletter": "_acme.newsletter",
    },
)
SALESFORCE = Export(
    "Contact.csv",
    csv(
        '"Id","IsDeleted","AccountId","LastName","FirstName","Salutation","MailingStreet",'
        '"MailingCity","MailingState","MailingPostalCode","MailingCountry","Phone","MobilePhone",'
        '"Email","Title","Department","Birthdate","LeadSource","HasOptedOutOfEmail","CreatedDate",'
        '"Loyalty_Tier__c","Customer_Since__c"',
        '"0035g00000A1","false","0015g00000B1","Rogers","Tim","Mr.","100 Main St","Austin","TX",'
        '"78701","United States","(512) 555-0100","(512) 555-0101","tim@example.com","SVP, Ops",'
        '"Operations","1962-03-04","Web","false","2024-01-15T10:22:33.000Z","Gold","2019-05-01"',
        '"0035g00000A2","false","0015g00000B1","O\'Hara, Jr.","Jane","Ms.","1 ""Old"" Rd","Dallas",'
        '"TX","75201","United States","","","jane@example.com","CFO","Finance","1970-12-24",'
        '"Partner","true","2024-02-20T08:00:00.000Z","Silver","2021-11-30"',
    ),
    profile(
        contactId=TEXT,
        accountId=TEXT,
        jobTitle=TEXT,
        department=TEXT,
        leadSource=TEXT,
        emailOptOut=BOOLEAN,
        createdAt=MOMENT,
        loyaltyTier=text(enum=["none", "silver", "gold", "platinum"]),
        customerSince=DATE,
    ),
    {"format": "csv"},
    {
        "Id": "_acme.contactId",
        "AccountId": "_acme.accountId",
        "LastName": "person.name.lastName",
        "FirstName": "person.name.firstName",
        "Salutation": "person.name.courtesyTitle",
        "MailingStreet": "mailingAddress.street1",
        "MailingCity": "mailingAddress.city",
        "MailingState": "mailingAddress.stateProvince",
        "MailingPostalCode": "mailingAddress.postalCode",
        "MailingCountry": "mailingAddress.country",
        "Phone": "homePhone.number",
        "MobilePhone": "mobilePhone.number",
        "Email": "personalEmail.address",
        "Title": "_acme.jobTitle",
        "Department": "_acme.department",
        "Birthdate": "person.birthDate",
        "LeadSource": "_acme.leadSource",
        "HasOptedOutOfEmail": "_acme.emailOptOut",
        "CreatedDate": "_acme.createdAt",
        "Loyalty_Tier__c": "_acme.loyaltyTier",
        "Customer_Since__c": "_acme.customerSince",
    },
)
SAP = Export(
    "KNA1_20261128.csv",
    csv(
        "MANDT|KUNNR|NAME1|NAME2|STRAS|PSTLZ|ORT01|LAND1|REGIO|TELF1|TELF2|SMTP_ADDR|SPRAS|ERDAT|"
        "KTOKD|KDGRP|LOEVM",
        "100|0000100017|Meyer|Petra|Ringstr. 5|80331|München|DE|BY|089/123|0151/8|p@example.org|D|"
        "20190312|DEBI|01|",
        "100|0000100018|Dupont|Luc|Rue Haute 2|1000|Bruxelles|BE|||0470/1|l@example.org|F|"
        "20200701|DEBI|02|X",
    ),
    profile(customerId=TEXT, accountGroup=TEXT, customerGroup=TEXT, createdOn=DATE),
    {"format": "csv", "delimiter": "|"},
    {
        "KUNNR": "_acme.customerId",
        "NAME1": "person.name.lastName",
        "NAME2": "person.name.firstName",
        "STRAS": "homeAddress.street1",
        "PSTLZ": "homeAddress.postalCode",
        "ORT01": "homeAddress.city",
        "LAND1": "homeAddress.country",
        "REGIO": "homeAddress.stateProvince",
        "TELF1": "homePhone.number",
        "TELF2": "mobilePhone.number",
        "SMTP_ADDR": "personalEmail.address",
        "SPRAS": "preferredLanguage",
        "ERDAT": "_acme.createdOn",
        "KTOKD": "_acme.accountGroup",
        "KDGRP": "_acme.customerGroup",
    },
)
SHOP_ORDERS = Export(
    "orders_export_1.csv",
    csv(
        "Name,Email,Financial Status,Paid at,Fulfillment Status,Currency,Subtotal,Shipping,Taxes,"
        "Total,Discount Code,Discount Amount,Shipping Method,Created at,Lineitem quantity,"
        "Lineitem name,Lineitem price,Lineitem sku,Billing Street,Billing City,Billing Zip,"
        "Billing Country,Shipping Street,Shipping City,Shipping Zip,Shipping Country,Phone,Id",
        "#1001,a@example.com,paid,2026-11-02 10:00:01 +0100,fulfilled,EUR,90.00,4.90,14.37,94.90,,"
        "0.00,Standard,2026-11-02 09:59:58 +0100,2,Blue Shirt,45.00,SH-01,12 High St,Leeds,LS1 1AA,"
        "GB,12 High St,Leeds,LS1 1AA,GB,+44 113 1,5550001",
        "#1002,b@example.com,pending,,unfulfilled,EUR,19.00,4.90,3.03,21.90,WELCOME,2.00,Express,"
        "2026-11-02 11:12:13 +0100,1,Socks,19.00,SO-07,1 Rue X,Lyon,69001,FR,1 Rue X,Lyon,69001,FR,"
        ",5550002",
    ),
    events(
        email=text(format="email"),
        phone=TEXT,
        financialStatus=TEXT,
        fulfillmentStatus=TEXT,
        subtotal=NUMBER,
        discountCode=TEXT,
        paidAt=MOMENT,
        orderName=TEXT,
    ),
    {"format": "csv"},
    {
        "Name": "_acme.orderName",
        "Email": "_acme.email",
        "Financial Status": "_acme.financialStatus",
        "Paid at": "_acme.paidAt",
        "Fulfillment Status": "_acme.fulfillmentStatus",
        "Currency": "commerce.order.currencyCode",
        "Subtotal": "_acme.subtotal",
        "Shipping": "commerce.shipping.shippingAmount",
        "Taxes": "commerce.order.taxAmount",
        "Total": "commerce.order.priceTotal",
        "Discount Code": "_acme.discountCode",
        "Discount Amount": "commerce.order.discountAmount",
        "Shipping Method": "commerce.shipping.shippingMethod",
        "Created at": "timestamp",
        "Lineitem quantity": "productListItems[0].quantity",
        "Lineitem name": "productListItems[0].name",
        "Lineitem price": "productListItems[0].priceTotal",
        "Lineitem sku": "productListItems[0].SKU",
        "Billing Street": "commerce.billing.address.street1",
        "Billing City": "commerce.billing.address.city",
        "Billing Zip": "commerce.billing.address.postalCode",
        "Billing Country": "commerce.billing.address.country",
        "Shipping Street": "commerce.shipping.address.street1",
        "Shipping City": "commerce.shipping.address.city",
        "Shipping Zip": "commerce.shipping.address.postalCode",
        "Shipping Country": "commerce.shipping.address.country",
        "Phone": "_acme.phone",
        "Id": "commerce.order.purchaseID",
    },
)
ANALYTICS = Export(
    "ga4_events_20261127.csv.gz",
    csv(
        "event_date,event_timestamp,event_name,event_id,user_pseudo_id,user_id,session_id,"
        "page_location,page_title,page_referrer,device_category,operating_system,browser,"
        "browser_version,ip,user_agent,geo_country,geo_city,source,medium,campaign,"
        "engagement_time_msec",
        "20261127,1764230400123,page_view,e-1,111.222,,s1,https://shop.example/a,Home,"
        "https://search.example/,mobile,iOS,Safari,18.1,192.0.2.7,Mozilla/5.0,FR,Paris,google,"
        "organic,,1200",
        "20261127,1764230405456,add_to_cart,e-2,111.223,u-9,s2,https://shop.example/b,Shirt,,"
        "desktop,Windows,Chrome,131,192.0.2.8,Mozilla/5.0,DE,Bonn,newsletter,email,nov-sale,88",
    ),
    events(
        userId=TEXT,
        pseudoId=TEXT,
        sessionId=TEXT,
        trafficSource=TEXT,
        trafficMedium=TEXT,
        engagementTime=INT,
    ),
    {"format": "csv"},
    {
        "event_timestamp": "timestamp",
        "event_name": "eventType",
        "event_id": "_id",
        "user_pseudo_id": "_acme.pseudoId",
        "user_id": "_acme.userId",
        "session_id": "_acme.sessionId",
        "page_location": "web.webPageDetails.URL",
        "page_title": "web.webPageDetails.name",
        "page_referrer": "web.webReferrer.URL",
        "device_category": "device.type",
        "operating_system": "environment.operatingSystem",
        "browser": "environment.browserDetails.name",
        "browser_version": "environment.browserDetails.version",
        "ip": "environment.ipV4",
        "user_agent": "environment.browserDetails.userAgent",
        "geo_country": "placeContext.geo.countryCode",
        "geo_city": "placeContext.geo.city",
        "source": "_acme.trafficSource",
        "medium": "_acme.trafficMedium",
        "campaign": "marketing.campaignName",
        "engagement_time_msec": "_acme.engagementTime",
    },
)
NEWSLETTER = Export(
    "subscribed_members_export_a1b2.csv",
    csv(
        "Email Address,First Name,Last Name,Phone Number,Birthday,MEMBER_RATING,OPTIN_TIME,"
        "OPTIN_IP,CONFIRM_TIME,CONFIRM_IP,LATITUDE,LONGITUDE,TIMEZONE,CC,REGION,LAST_CHANGED,LEID,EUID,"
        "TAGS",
        "ann@example.org,Ann,Lee,,05/23,4,2023-01-02 03:04:05,192.0.2.1,2023-01-02 03:05:00,"
        '192.0.2.1,52.5,13.4,Europe/Berlin,DE,be,2026-01-01 00:00:00,551,ab12,"vip,beta"',
        "bob@example.org,Bob,,,,2,2024-05-06 07:08:09,192.0.2.2,2024-05-06 07:09:00,192.0.2.2,48.1,"
        '11.5,Europe/Berlin,DE,by,2026-02-02 00:00:00,552,cd34,"beta,new"',
    ),
    profile(
        memberRating=INT,
        optInTime=MOMENT,
        optInIp=TEXT,
        confirmTime=MOMENT,
        lastChanged=MOMENT,
        subscriberId=TEXT,
        tags=a_list(TEXT),
    ),
    {"format": "csv"},
    {
        "Email Address": "personalEmail.address",
        "First Name": "person.name.firstName",
        "Last Name": "person.name.lastName",
        "Phone Number": "homePhone.number",
        "MEMBER_RATING": "_acme.memberRating",
        "OPTIN_TIME": "_acme.optInTime",
        "OPTIN_IP": "_acme.optInIp",
        "CONFIRM_TIME": "_acme.confirmTime",
        "LATITUDE": "homeAddress._schema.latitude",
        "LONGITUDE": "homeAddress._schema.longitude",
        "TIMEZONE": "timeZone",
        "CC": "homeAddress.countryCode",
        "REGION": "homeAddress.stateProvince",
        "LAST_CHANGED": "_acme.lastChanged",
        "EUID": "_acme.subscriberId",
        "TAGS": "_acme.tags",
    },
)
LOYALTY = Export(
    "loyalty_members.txt",
    csv(
        "member_no\tfirst_nm\tlast_nm\tdob\tsex\temail_addr\tmobile_no\tjoin_dt\ttier\tpts_balance\t"
        "lifetime_spend\tpref_store\tzip\topt_in_email\topt_in_sms",
        "M-1\tAnn\tLee\t05/23/1981\tF\tann@example.org\t555-1\t01/31/2019\tG\t12,345\t1,234.56\t17\t"
        "10001\tY\tN",
        "M-2\tBob\tKay\t12/02/1975\tM\tbob@example.org\t\t11/05/2020\tS\t80\t19.90\t4\t94105\tN\tN",
    ),
    profile(
        memberId=TEXT,
        tier=text(enum=["none", "silver", "gold", "platinum"]),
        points=INT,
        lifetimeValue=NUMBER,
        joinDate=DATE,
        preferredStore=INT,
        emailOptIn=BOOLEAN,
        smsOptIn=BOOLEAN,
    ),
    {"format": "csv", "delimiter": "\t"},
    {
        "member_no": "_acme.memberId",
        "first_nm": "person.name.firstName",
        "last_nm": "person.name.lastName",
        "dob": "person.birthDate",
        "sex": "person.gender",
        "email_addr": "personalEmail.address",
        "mobile_no": "mobilePhone.number",
        "join_dt": "_acme.joinDate",
        "tier": "_acme.tier",
        "pts_balance": "_acme.points",
        "lifetime_spend": "_acme.lifetimeValue",
        "pref_store": "_acme.preferredStore",
        "zip": "homeAddress.postalCode",
        "opt_in_email": "_acme.emailOptIn",
        "opt_in_sms": "_acme.smsOptIn",
    },
)
CALLS = Export(
    "calls-2026-W47.csv",
    csv(
        "Call ID\tCall Start\tCall End\tDuration (s)\tAgent\tQueue\tCustomer Number\tPhone\t"
        "Contact Reason\tOutcome\tCSAT\tLanguage",
        "c-1\t2026-11-16T08:00:01Z\t2026-11-16T08:04:01Z\t240\tana\tbilling\t100017\t+49 30 1\t"
        "invoice\tsolved\t5\tde",
        "c-2\t2026-11-16T08:10:00Z\t2026-11-16T08:10:30Z\t30\tben\tsales\t\t+49 40 2\torder\t"
        "dropped\t\ten",
        charset="utf-16",
    ),
    events(
        callId=TEXT,
        callStart=MOMENT,
        callEnd=MOMENT,
        callDuration=INT,
        agent=TEXT,
        queue=TEXT,
        customerId=TEXT,
        callerPhone=TEXT,
        contactReason=TEXT,
        callOutcome=TEXT,
        satisfactionScore=INT,
        language=TEXT,
    ),
    {"format": "csv", "delimiter": "\t", "charset": "UTF-16"},
    {
        "Call ID": "_acme.callId",
        "Call Start": "_acme.callStart",
        "Call End": "_acme.callEnd",
        "Duration (s)": "_acme.callDuration",
        "Agent": "_acme.agent",
        "Queue": "_acme.queue",
        "Customer Number": "_acme.customerId",
        "Phone": "_acme.callerPhone",
        "Contact Reason": "_acme.contactReason",
        "Outcome": "_acme.callOutcome",
        "CSAT": "_acme.satisfactionScore",
        "Language": "_acme.language",
    },
)
FRENCH = Export(
    "clients_boutique.csv",
    csv(
        "N° client;Civilité;Nom;Prénom;Date de naissance;Adresse;Complément d'adresse;Code postal;"
        "Ville;Pays;Courriel;Téléphone;Portable;Date d'inscription;Montant total;"
        "Nombre de commandes;Abonné newsletter",
        "C001;M.;Lefèvre;Noël;14/07/1980;3 rue d\u2019Alésia;;75014;Paris;France;noel@example.fr;"
        "01 45 00;06 12 00;28/02/2020;1 234,56 ;12;oui",
        "C002;Mme;Cœur;Zoé;02/09/1991;5 bd Foch;Bât. B;49100;Angers;France;zoe@example.fr;;;"
        "15/10/2023;99,90;1;non",
        charset="cp1252",
    ),
    profile(
        clientNumber=TEXT,
        registrationDate=DATE,
        totalAmount=NUMBER,
        orderCount=INT,
        newsletterSubscriber=BOOLEAN,
    ),
    {"format": "csv", "delimiter": ";", "charset": "Windows-1252"},
    {
        "N° client": "_acme.clientNumber",
        "Civilité": "person.name.courtesyTitle",
        "Nom": "person.name.lastName",
        "Prénom": "person.name.firstName",
        "Date de naissance": "person.birthDate",
        "Adresse": "homeAddress.street1",
        "Complément d'adresse": "homeAddress.street2",
        "Code postal": "homeAddress.postalCode",
        "Ville": "homeAddress.city",
        "Pays": "homeAddress.country",
        "Courriel": "personalEmail.address",
        "Téléphone": "homePhone.number",
        "Portable": "mobilePhone.number",
        "Date d'inscription": "_acme.registrationDate",
        "Montant total": "_acme.totalAmount",
        "Nombre de commandes": "_acme.orderCount",
        "Abonné newsletter": "_acme.newsletterSubscriber",
    },
)
APP_EVENTS = Export(
    "app-events.jsonl",
    "".join(
        json.dumps(row) + "\n"
        for row in (
            {
                **{"id": "e1", "ts": "2026-11-27T10:00:00Z", "type": "view", "ip": "192.0.2.1"},
                "user": {"id": "u1", "email": "a@example.com"},
                "page": {"url": "https://app.example/a", "title": "A"},
                "device": {"model": "Pixel 9", "os": "Android"},
                **{"utm": {"campaign": "nov"}, "interests": ["golf", "tea"], "value": 12.5},
            },
            {
                **{"id": "e2", "ts": "2026-11-27T10:00:05Z", "type": "buy", "ip": "192.0.2.2"},
                "user": {"id": "u2", "email": "b@example.com"},
                "page": {"url": "https://app.example/b", "title": "B"},
                "device": {"model": "iPhone", "os": "iOS"},
                **{"utm": {}, "interests": [], "value": 3},
            },
        )
    ).encode(),
    events(userId=TEXT, userEmail=text(format="email"), interests=a_list(TEXT), value=NUMBER),
    {"format": "json"},
    {
        "id": "_id",
        "ts": "timestamp",
        "type": "eventType",
        "ip": "environment.ipV4",
        "user.id": "_acme.userId",
        "user.email": "_acme.userEmail",
        "page.url": "web.webPageDetails.URL",
        "page.title": "web.webPageDetails.name",
        "device.model": "device.model",
        "device.os": "environment.operatingSystem",
        "utm.campaign": "marketing.campaignName",
        "interests": "_acme.interests",
        "value": "_acme.value",
    },
)
EXPORTS = (
    *(CRM_GERMAN, SALESFORCE, SAP, SHOP_ORDERS, ANALYTICS, NEWSLETTER, LOYALTY, CALLS),
    *(FRENCH, APP_EVENTS),
)

# Three more, with which the words of `aep_intake_cli.mapping.matching` were not chosen: leave them
# out when you add words.
HUBSPOT = Export(
    "hubspot-crm-exports-all-contacts.csv",
    csv(
        "Record ID,First Name,Last Name,Email,Phone Number,Mobile Phone Number,Contact owner,"
        "Lifecycle Stage,Lead Status,Create Date,Last Activity Date,Street Address,City,"
        "State/Region,Postal Code,Country/Region,Preferred language,Date of birth,Gender,"
        "Number of Sessions,Marketing contact status",
        "201,Ann,Lee,ann@example.org,+1 1,+1 2,Bob,customer,open,2024-01-02 10:11,2025-02-03 11:12,"
        "1 Main,Austin,TX,78701,United States,en,1980-02-03,female,17,Marketing contact",
        "202,Kim,Roe,kim@example.org,,,Bob,lead,new,2024-03-02 10:11,2025-03-03 11:12,2 Main,"
        "Austin,TX,78702,United States,en,1981-02-03,male,3,Non-marketing contact",
    ),
    profile(
        contactId=TEXT,
        lifecycleStage=TEXT,
        leadStatus=TEXT,
        createDate=MOMENT,
        lastActivityDate=MOMENT,
        sessionCount=INT,
        owner=TEXT,
        marketingStatus=TEXT,
    ),
    {"format": "csv"},
    {
        "Record ID": "_acme.contactId",
        "First Name": "person.name.firstName",
        "Last Name": "person.name.lastName",
        "Email": "personalEmail.address",
        "Phone Number": "homePhone.number",
        "Mobile Phone Number": "mobilePhone.number",
        "Contact owner": "_acme.owner",
        "Lifecycle Stage": "_acme.lifecycleStage",
        "Lead Status": "_acme.leadStatus",
        "Create Date": "_acme.createDate",
        "Last Activity Date": "_acme.lastActivityDate",
        "Street Address": "homeAddress.street1",
        "City": "homeAddress.city",
        "State/Region": "homeAddress.stateProvince",
        "Postal Code": "homeAddress.postalCode",
        "Country/Region": "homeAddress.country",
        "Preferred language": "preferredLanguage",
        "Date of birth": "person.birthDate",
        "Gender": "person.gender",
        "Number of Sessions": "_acme.sessionCount",
        "Marketing contact status": "_acme.marketingStatus",
    },
)
SPANISH = Export(
    "clientes.csv",
    csv(
        "CodCliente;Nombre;Apellidos;FechaNacimiento;Sexo;CorreoElectronico;Telefono;Movil;"
        "Direccion;CodigoPostal;Poblacion;Provincia;Pais;FechaAlta;ImporteTotal;"
        "AceptaPublicidad;Idioma",
        "1;Ana;Ruiz;03/05/1970;M;a@example.es;91 1;6 1;C/ Sol 1;28001;Madrid;Madrid;ES;13/01/2020;"
        "1.200,50;S;es",
        "2;Luis;Gil;23/05/1970;H;l@example.es;91 2;6 2;C/ Mar 1;28002;Madrid;Madrid;ES;14/01/2020;"
        "20,50;N;es",
    ),
    profile(customerId=TEXT, registrationDate=DATE, totalAmount=NUMBER, marketingConsent=BOOLEAN),
    {"format": "csv", "delimiter": ";"},
    {
        "CodCliente": "_acme.customerId",
        "Nombre": "person.name.firstName",
        "Apellidos": "person.name.lastName",
        "FechaNacimiento": "person.birthDate",
        "Sexo": "person.gender",
        "CorreoElectronico": "personalEmail.address",
        "Telefono": "homePhone.number",
        "Movil": "mobilePhone.number",
        "Direccion": "homeAddress.street1",
        "CodigoPostal": "homeAddress.postalCode",
        "Poblacion": "homeAddress.city",
        "Provincia": "homeAddress.stateProvince",
        "Pais": "homeAddress.country",
        "FechaAlta": "_acme.registrationDate",
        "ImporteTotal": "_acme.totalAmount",
        "AceptaPublicidad": "_acme.marketingConsent",
        "Idioma": "preferredLanguage",
    },
)
TILLS = Export(
    "pos_trx.psv",
    csv(
        "trx_id|trx_dttm|store_nbr|register|cashier|cust_id|loyalty_card|sku|item_desc|qty|"
        "unit_price|line_total|tax_amt|ccy|payment_type",
        "t1|2026-11-01T10:11:12Z|17|2|ann|c1|L1|S1|Shirt|1|19.90|19.90|3.20|EUR|card",
        "t2|2026-11-01T10:12:12Z|17|2|ann|||S2|Hat|2|9.90|19.80|3.10|EUR|cash",
    ),
    events(
        transactionId=TEXT,
        storeNumber=INT,
        register=INT,
        cashier=TEXT,
        customerId=TEXT,
        loyaltyCardNumber=TEXT,
        unitPrice=NUMBER,
        paymentType=TEXT,
    ),
    {"format": "csv", "delimiter": "|"},
    {
        "trx_id": "_acme.transactionId",
        "trx_dttm": "timestamp",
        "store_nbr": "_acme.storeNumber",
        "register": "_acme.register",
        "cashier": "_acme.cashier",
        "cust_id": "_acme.customerId",
        "loyalty_card": "_acme.loyaltyCardNumber",
        "sku": "productListItems[0].SKU",
        "item_desc": "productListItems[0].name",
        "qty": "productListItems[0].quantity",
        "unit_price": "_acme.unitPrice",
        "line_total": "productListItems[0].priceTotal",
        "tax_amt": "commerce.order.taxAmount",
        "ccy": "commerce.order.currencyCode",
        "payment_type": "_acme.paymentType",
    },
)
UNSEEN = (HUBSPOT, SPANISH, TILLS)
