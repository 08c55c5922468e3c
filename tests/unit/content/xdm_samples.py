"""Schemas in the full form of Schema Registry, and Adobe's own sample of CSV as XDM."""

from typing import Any

TEXT: dict[str, Any] = {"type": "string", "meta:xdmType": "string"}
PROFILE, EVENT = (
    f"https://ns.adobe.com/xdm/context/{name}" for name in ("profile", "experienceevent")
)


def an_object(*required: str, **members: Any) -> dict[str, Any]:
    """An object that must have some of its members."""
    found = {"type": "object", "meta:xdmType": "object", "properties": members}
    return found | ({"required": list(required)} if required else {})


def number(kind: str, **rules: Any) -> dict[str, Any]:
    """A number of an `xdmType`."""
    return {"type": "number" if kind == "number" else "integer", "meta:xdmType": kind} | rules


def text(**rules: Any) -> dict[str, Any]:
    """A string with rules."""
    return TEXT | rules


def a_list(items: dict[str, Any]) -> dict[str, Any]:
    """A list."""
    return {"type": "array", "meta:xdmType": "array", "items": items}


def a_map(values: dict[str, Any]) -> dict[str, Any]:
    """A map."""
    return {"type": "object", "meta:xdmType": "map", "additionalProperties": values}


DATE, MOMENT = text(format="date"), text(format="date-time")
BOOLEAN = {"type": "boolean", "meta:xdmType": "boolean"}
IDENTITIES = a_map(a_list(an_object(id=TEXT, primary=BOOLEAN)))


def schema(*required: str, of: str = PROFILE, **members: Any) -> dict[str, Any]:
    """A schema of a tenant called acme."""
    return an_object(*required, **members) | {
        "$id": "https://ns.adobe.com/acme/schemas/ee56b80adc7e03b8",
        "version": "1.4",
        "meta:class": of,
        "meta:extends": [of],
        "meta:tenantNamespace": "_acme",
    }


# What the CRM sample needs, with the rules that XDM has for it.
CRM = schema(
    person=an_object(
        name=an_object(courtesyTitle=TEXT, firstName=TEXT, lastName=TEXT),
        gender=text(enum=["male", "female", "not_specified", "non_specific"]),
        birthDate=DATE,
        birthYear=number("short", minimum=1, maximum=32767),
        birthDayAndMonth=text(pattern="[0-1][0-9]-[0-9][0-9]"),
    ),
    identityMap=IDENTITIES,
    personalEmail=an_object("address", address=text(format="email", minLength=1)),
    homePhone=an_object(number=TEXT),
    homeAddress=an_object(
        street1=TEXT,
        city=TEXT,
        stateProvince=text(pattern="([A-Z]{2}-[A-Z0-9]{1,3}|)"),
        country=TEXT,
        postalCode=TEXT,
        _schema=an_object(
            latitude=number("number", minimum=-90, maximum=90),
            longitude=number("number", minimum=-180, maximum=180),
        ),
    ),
)
EVENTS = schema(
    "_id",
    "timestamp",
    of=EVENT,
    _id=text(format="uri-reference"),
    timestamp=MOMENT,
    eventType=TEXT,
    _acme=an_object(storeId=TEXT, amount=number("number"), items=a_list(TEXT)),
)

# Two rows of adobe/experience-platform-etl-reference, example_files/CRM_profiles.csv.
CRM_CSV = (
    '"TITLE","F_NAME","L_NAME","GENDER","MONTH_AND_DATE","DOB","YOB","EMAIL","ID1","ID2","ID3",'
    '"ID4","PHONE","EMAIL2","STREET","CITY","STATE","COUNTRY","ZIP","LAT","LONG"\n'
    '"Mr","Ewart","Bennedsen","male","09-25","2004-09-25","2004","ebennedsenex@jiathis.com",'
    '"71a16013-d805-7ece-9ac4-8f2cd66e8eaa","87098882279810196101440938110216748923",'
    '"2e33192000007456-0365c00000000000","55019962992006103186215643814973128178","256-284-7231",'
    '"ebennedsenex@jiathis.com","72 Buhler Crossing","Anniston","Alabama","US","36205",'
    '"33.708276","-85.7922905"\n'
    '"Mrs","Friederike","Durrell","female","01-3","1979-01-3","1979","fdurrellbj@utexas.edu",'
    '"33d018ec-5fed-f1a3-56aa-079370a9511b","50164729868919217963697788808932473456",'
    '"2e33192080006dfc-0cdf400000000003","64452712468609735658703639722261004071","798-528-3458",'
    '"fdurrellbj@utexas.edu","47 Fremont Hill","Independencia","Veracruz Llave","MX","91891",'
    '"19.3803931","-99.1476905"\n'
)
CRM_MAP: dict[str, Any] = {
    "person.name.courtesyTitle": "TITLE",
    "person.name.firstName": "F_NAME",
    "person.name.lastName": "L_NAME",
    "person.gender": "GENDER",
    "person.birthDayAndMonth": {"expression": "substr(date(DOB, 'yyyy-MM-d'), `5`, `5`)"},
    "person.birthDate": {"from": "DOB", "format": "yyyy-MM-d"},
    "person.birthYear": "YOB",
    "identityMap.CRMID[0].id": "ID1",
    "identityMap.CRMID[0].primary": {"value": False},
    "identityMap.ECID[0].id": "ID2",
    "identityMap.ECID[0].primary": {"value": False},
    "identityMap.ECID[1].id": "ID4",
    "identityMap.ECID[1].primary": {"value": False},
    "identityMap.LOYALTYID[0].id": "ID3",
    "identityMap.LOYALTYID[0].primary": {"value": True},
    "homePhone.number": "PHONE",
    "personalEmail.address": "EMAIL",
    "homeAddress.street1": "STREET",
    "homeAddress.city": "CITY",
    "homeAddress.stateProvince": "STATE",
    "homeAddress.country": "COUNTRY",
    "homeAddress.postalCode": "ZIP",
    "homeAddress._schema.latitude": "LAT",
    "homeAddress._schema.longitude": "LONG",
}


def crm_row(  # as the repository's CRM_profiles.json has them, in its order
    title: str, first: str, last: str, gender: str, born: str, *ids: str, **rest: Any
) -> dict[str, Any]:
    """A row of the sample as XDM."""
    crm, first_ecid, second_ecid, loyalty = ids
    return {
        "person": {
            "name": {"courtesyTitle": title, "firstName": first, "lastName": last},
            "gender": gender,
            "birthDayAndMonth": born[5:],
            "birthDate": born,
            "birthYear": int(born[:4]),
        },
        "identityMap": {
            "CRMID": [{"id": crm, "primary": False}],
            "ECID": [
                {"id": first_ecid, "primary": False},
                {"id": second_ecid, "primary": False},
            ],
            "LOYALTYID": [{"id": loyalty, "primary": True}],
        },
        "homePhone": {"number": rest.pop("phone")},
        "personalEmail": {"address": rest.pop("email")},
        "homeAddress": rest,
    }


CRM_ROWS = [
    crm_row(
        *("Mr", "Ewart", "Bennedsen", "male", "2004-09-25"),
        "71a16013-d805-7ece-9ac4-8f2cd66e8eaa",
        "87098882279810196101440938110216748923",
        "55019962992006103186215643814973128178",
        "2e33192000007456-0365c00000000000",
        phone="256-284-7231",
        email="ebennedsenex@jiathis.com",
        street1="72 Buhler Crossing",
        city="Anniston",
        stateProvince="Alabama",
        country="US",
        postalCode="36205",
        _schema={"latitude": 33.708276, "longitude": -85.7922905},
    ),
    crm_row(
        *("Mrs", "Friederike", "Durrell", "female", "1979-01-03"),  # the sample leaves it "01-3"
        "33d018ec-5fed-f1a3-56aa-079370a9511b",
        "50164729868919217963697788808932473456",
        "64452712468609735658703639722261004071",
        "2e33192080006dfc-0cdf400000000003",
        phone="798-528-3458",
        email="fdurrellbj@utexas.edu",
        street1="47 Fremont Hill",
        city="Independencia",
        stateProvince="Veracruz Llave",
        country="MX",
        postalCode="91891",
        _schema={"latitude": 19.3803931, "longitude": -99.1476905},  # it has …908: a float
    ),
]
