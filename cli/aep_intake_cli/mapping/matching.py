"""Matches columns to paths of a schema: by their names, in several languages, and their values.

A name becomes a set of plain words, such as `Geb_Dat` birth and date, and so does each path; the
more of them are the same, the better. What the values of a column cannot be, it is not.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from aep_intake.content.xdm import Schema, parse, type_name, type_of

from aep_intake_cli.mapping import readings
from aep_intake_cli.mapping.readings import Reading

if TYPE_CHECKING:
    from aep_intake.content.typed import Type

    from aep_intake_cli.mapping.files import Column

ENOUGH = 0.6  # of the words, by weight
SURE = 0.8
_ALTERNATIVE = 0.05  # nearer than this, another path is named
_OTHERS_NAMED = 3
_TRIED = 12  # paths for a column
_SCALARS = ("string", "integer", "number", "boolean", "date", "date-time")

# A word of ours, and what others write for it: other words, abbreviations, other languages, names
# of fields of SAP, Salesforce and shops. Several words stand for one if they are joined by `+`.
_WRITTEN = """
first+name: firstname fname forename givenname given vorname prenom nombre voornaam name2 namev
    first+nm
last+name: lastname lname surname familyname family nachname familienname nom apellido apellidos
    achternaam name1 last+nm
middle+name: middlename mname
full+name: fullname displayname
name: nm bezeichnung
salutation: anrede civilite anred courtesytitle prefix tratamiento aanhef
birth+date: dob birthdate birthday born geburtsdatum geburtstag gebdat geb naissance
    datenaissance nacimiento geboortedatum gbdat date+of+birth date+de+naissance
gender: sex geschlecht sexe genre sexo geslacht
email: mail emailaddress smtp courriel correo epost emailadresse
address: addr adr anschrift
phone: telephone tel telefon telefonnummer telefono telf1 phonenumber festnetz telefoon fon
mobile: cell cellphone mobil handy handynummer mobiltelefon portable movil mobilephone gsm telf2
street: strasse str stras rue adresse adresszeile calle straat streetaddress address1 addr1
    addressline1 hausanschrift
street+2: complement adresszusatz address2 addr2 addressline2
city: ort ort01 stadt wohnort ville ciudad town plaats city1
postal+code: plz pstlz zip zipcode postleitzahl postcode cp codepostal postalcode codigopostal
    post+code1
state: regio region bundesland province provincia county departement
country: land land1 pays pais staat
country+code: cc countryiso landcode
time+zone: timezone tz zeitzone fuseau
language: sprache spras langue idioma lang locale
preferred: pref bevorzugt
company: firma organisation organization societe empresa unternehmen
customer: kunde kunden client cliente klant customers kun cust member mitglied membership
    contact kontakt subscriber user adherent
customer+id: kunnr kundennummer kundennr kdnr mitgliedsnummer customernumber custno
customer+group: kdgrp kundengruppe
account+group: ktokd kontengruppe
group: gruppe groupe grupo grp
type: typ art
id: nummer nr num no number numero key code uid identifier kennung guid
order: bestellung auftrag commande pedido purchase kauf achat compra bestell
order+id: orderid bestellnummer auftragsnummer
last: letzter letzte letztes dernier derniere ultimo ultima
date: datum jour fecha day dt
time: zeit uhrzeit heure hora timestamp datetime ts
created: create creation erstellt angelegt erdat creado cree anlage added
changed: modified updated geaendert aedat lastmodified update change
price: preis prix precio einzelpreis unitprice unit+price
total: summe gesamt grandtotal
amount: montant betrag amt importe
total+amount: gesamtbetrag
revenue: umsatz ca
tax: taxes mwst ust tva vat iva steuer
discount: rabatt remise descuento
currency: waehrung waers devise moneda curr
quantity: menge anzahl qty quantite cantidad itemcount
count: nombre+de anzahl+der
product: produkt artikel article producto item lineitem line+item
sku: artikelnummer artikelnr productid itemsku
points: punkte punktestand puntos pts
tier: stufe niveau level nivel kundenstatus
value: spend spent wert valeur valor
newsletter: nl newsletteroptin optin opt+in subscribed abonnent abonne
opt: opted
join: joined beitritt eintritt enrolled enrollment signup registered registrierung
    beitrittsdatum eintrittsdatum adhesion inscription registration
referrer: referer
page: seite
ip: ipaddress ipaddr
agent: agente bearbeiter operator
duration: dauer duree length
reason: grund motif motivo betreff subject
outcome: ergebnis resultat result
satisfaction: csat zufriedenheit
channel: kanal canal medium
campaign: kampagne campagne utmcampaign
source: quelle utmsource
url: link location uri
image: bild foto
latitude: lat
longitude: lon lng long
"""
# Paths whose own names do not say what people call them; by their ends.
_CALLED = {
    "person.name.courtesyTitle": "salutation",
    "personalEmail.address": "email",
    "workEmail.address": "work email; business email",
    "mobilePhone.number": "mobile; mobile phone",
    "homePhone.number": "phone; home phone",
    "workPhone.number": "work phone; business phone",
    "faxPhone.number": "fax",
    "street1": "street",
    "stateProvince": "state",
    "postalCode": "postal code; zip",
    "web.webPageDetails.URL": "page url; url",
    "web.webPageDetails.name": "page title; page name",
    "web.webReferrer.URL": "referrer; page referrer",
    "commerce.order.purchaseID": "order id; transaction id",
    "commerce.order.priceTotal": "total; order total; total price; amount; revenue",
    "commerce.order.currencyCode": "currency",
    "SKU": "sku; product sku; product id",
    "priceTotal": "total; line total; price",
    "environment.ipV4": "ip; client ip",
    "environment.browserDetails.userAgent": "user agent; browser agent",
    "environment.browserDetails.name": "browser",
    "environment.browserDetails.version": "browser version",
    "environment.operatingSystem": "os; operating system; device os",
    "device.type": "device category; device type",
    "timestamp": "time; event time; date; created; created date",
    "_id": "id; event id; hit id",
    "eventType": "event name; event type; event",
    "loyalty.joinDate": "join date; member since",
    "marketing.trackingCode": "tracking code",
}
# Words that say little of a column, as they are in the names of many; and those that say some.
_LITTLE_WORTH = """
customer id of my home personal primary value date profile data info address mailing account person
time amount current preferred event field list details utm traffic web has is commerce order xdm
"""
_LITTLE = frozenset(_LITTLE_WORTH.split())
_SOME = frozenset(("name", "type", "status", "score", "count", "balance", "rating"))
_NO_WORTH = """
the at on in an and de der die das und du des la le les et d l c s el y
"""
_NONE = frozenset(_NO_WORTH.split())
_OFTEN = 4  # a word that is in a fourth of all names, and in as many, says little
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_EMAIL = re.compile(r"\be[-_ ]?mail", re.IGNORECASE)


@dataclass(frozen=True)
class ColumnMatch:
    """A column and the path that it probably is. `score`: 1 if all their words are the same."""

    column: Column
    path: str
    score: float
    reading: Reading
    others: tuple[str, ...] = ()  # paths that are about as likely

    @property
    def sure(self) -> bool:
        """Whether a person need not look at it."""
        return self.score >= SURE and not (self.others or self.reading.doubt)


@dataclass(frozen=True)
class _Field:
    """A path that a column may go to, and the sets of words that it may be called by."""

    path: str
    kind: Type
    several: bool  # a list of single values
    called: tuple[frozenset[str], ...]
    whole: frozenset[str]  # all words of the path
    of_tenant: bool


class _Weights:
    """What words are worth: those that many names have say little."""

    def __init__(self, columns: Sequence[Column], fields: Sequence[_Field]) -> None:
        self._little = _LITTLE | _often(_words(each.name) for each in columns)
        self._little |= _often(field.called[0] for field in fields if field.of_tenant)

    def of(self, words: Iterable[str]) -> float:
        """What some words are worth together."""
        return sum(
            0.25 if word in self._little or word.isdecimal() else 0.5 if word in _SOME else 1.0
            for word in words
        )

    def likeness(self, words: frozenset[str], field: _Field) -> float:
        """How much a name is like a path: 1 if each has all the words of the other.

        All of the name should be in the path; and what the path may be called by, in the name.
        """
        every = field.whole.union(*field.called)
        told = self.of(words & every) / self.of(words)
        named = max(self.of(words & called) / self.of(called) for called in field.called)
        alike = self.of(words & field.whole) / self.of(words | field.whole)
        return 0.95 * told * named + 0.05 * alike


def _often(names: Iterable[frozenset[str]]) -> set[str]:
    counts, many = Counter[str](), 0
    for words in names:
        counts.update(words)
        many += 1
    return {word for word, times in counts.items() if times >= max(_OFTEN, many / _OFTEN)}


def match(columns: Sequence[Column], schema: Schema, *, semicolons: bool) -> list[ColumnMatch]:
    """The most likely path of each column, none twice; in the order of the columns."""
    fields = list(_fields(schema))
    weights = _Weights(columns, fields)
    by_word = defaultdict[str, set[int]](set)
    for index, field in enumerate(fields):
        for word in frozenset[str]().union(*field.called):
            by_word[word].add(index)
    found = list[ColumnMatch]()
    for column in columns:
        words = _words(column.name)
        if column.twice or not words:
            continue
        near = {index for word in words for index in by_word.get(word, ())}
        likely = sorted((-weights.likeness(words, fields[index]), index) for index in near)
        read = _reader(column, semicolons=semicolons)
        for score, index in likely[:_TRIED]:
            if made := _match(column, fields[index], -score, read):
                found.append(made)
        found += _by_values(column, words, fields, read)
    return _assigned(found, columns)


def _assigned(found: Sequence[ColumnMatch], columns: Sequence[Column]) -> list[ColumnMatch]:
    """The best matches, each column and each path once, with what else is as likely."""
    ranked = sorted(found, key=lambda each: -each.score)
    taken = dict[str, ColumnMatch]()
    paths = set[str]()
    for each in ranked:
        if each.column.name not in taken and each.path not in paths:
            taken[each.column.name] = each
            paths.add(each.path)
    for name, each in taken.items():
        others = (
            other.path
            for other in ranked
            if other.column is each.column
            and other.path not in paths
            and each.score - other.score < _ALTERNATIVE
        )
        taken[name] = replace(each, others=tuple(dict.fromkeys(others))[:_OTHERS_NAMED])
    return [taken[column.name] for column in columns if column.name in taken]


type _Read = Callable[[_Field], tuple[Reading, bool]]


def _reader(column: Column, *, semicolons: bool) -> _Read:
    """What says how a column is read for a field, and whether it can be."""
    known = dict[str, tuple[Reading, bool]]()

    def read(field: _Field) -> tuple[Reading, bool]:
        key = f"{field.several} {field.kind}"
        if key not in known:
            texts, how = column.values, dict[str, Any]()
            if field.several and not column.several:
                mark = readings.separator(texts)
                texts = [part for text in texts for part in text.split(mark)] if mark else texts
                how = {"split": mark} if mark else {}
            made = readings.read([t for t in texts if t], field.kind, semicolons=semicolons)
            made = replace(made, how=how | dict(made.how))
            fits = column.several <= field.several
            known[key] = made, fits and (made.fits >= readings.ENOUGH or "enum" in field.kind)
        return known[key]

    return read


def _match(column: Column, field: _Field, score: float, read: _Read) -> ColumnMatch | None:
    if score < ENOUGH - 0.1:
        return None
    reading, fits = read(field)
    if not fits:
        return None
    if reading.telling and column.values and reading.fits == 1.0:
        score += 0.1
    if reading.fits < readings.ENOUGH:
        score -= 0.1
    if score < ENOUGH:
        return None
    # A list takes a text that has no separator as its first item.
    one = field.several and not column.several and "split" not in reading.how
    return ColumnMatch(column, f"{field.path}[0]" if one else field.path, min(score, 1.1), reading)


def _by_values(
    column: Column, words: frozenset[str], fields: Iterable[_Field], read: _Read
) -> Iterator[ColumnMatch]:
    """Where a column goes whose values say it: email addresses, and the time of an event."""
    emails = len(column.values) > 2 and all("@" in text for text in column.values[:100])
    moments = bool(column.values and words & {"date", "time", "created"})
    for field in fields if emails or moments else ():
        if (emails and field.kind.get("format") == "email") or (
            moments and field.path == "timestamp"
        ):
            reading, fits = read(field)
            if fits and reading.fits == 1.0:
                yield ColumnMatch(column, field.path, ENOUGH, reading)


def _fields(schema: Schema) -> Iterator[_Field]:
    """The fields of a schema that a column may fill; none of those that AEP fills itself."""
    for path in schema.paths():
        steps = parse(path)
        node = schema.node(steps)
        several = type_name(node) == "array"
        inner = node.get("items", {}) if several else node
        if type_name(inner) not in _SCALARS or path.endswith("]") or _is_system(path, node):
            continue
        if path == "_id" and not schema.of_events:  # which no profile needs
            continue
        names = [step for step in steps if isinstance(step, str) and step != schema.tenant]
        called = [_words(" ".join(names[-2:]))]
        if len(names) == 1 or not _words(names[-1]) <= _LITTLE | _SOME:
            called.insert(0, _words(names[-1]))
        if isinstance(node.get("title"), str):
            called.append(_words(node["title"]))
        for end, texts in _CALLED.items():
            if path == end or path.endswith((f".{end}", f"].{end}")):
                called += [_words(text) for text in texts.split(";")]
        whole = _words(" ".join(names))
        sets = tuple(dict.fromkeys(each for each in called if each))
        if sets:
            yield _Field(path, type_of(inner), several, sets, whole, steps[0] == schema.tenant)


def _is_system(path: str, node: Mapping[str, Any]) -> bool:
    last = path.rpartition(".")[2]
    by = last in ("createdByBatchID", "modifiedByBatchID", "repositoryCreatedBy")
    return path.startswith("_repo.") or by or node.get("meta:usereditable") is False


@cache
def _known() -> Mapping[str, frozenset[str]]:
    """Our words by what others write."""
    known = dict[str, frozenset[str]]()
    for line in re.split(r"\n(?! )", _WRITTEN.strip()):
        ours, _, others = line.partition(":")
        words = frozenset(ours.split("+"))
        for word in words:
            known.setdefault(word, frozenset((word,)))
        for other in (*others.split(), ours.replace("+", "")):
            known[other.replace("+", "")] = words
    return known


@cache
def _pairs() -> Mapping[tuple[str, ...], frozenset[str]]:
    """Our words by several words that stand for them together."""
    pairs = dict[tuple[str, ...], frozenset[str]]()
    for line in re.split(r"\n(?! )", _WRITTEN.strip()):
        ours, _, others = line.partition(":")
        for other in others.split():
            if "+" in other:
                pairs[tuple(other.split("+"))] = frozenset(ours.split("+"))
    return pairs


@cache
def _words(name: str) -> frozenset[str]:
    """The plain words of a name."""
    text = _EMAIL.sub("email", name.removesuffix("__c")).replace("°", "o")
    text = text.replace("ß", "ss").replace("ä", "ae").replace("ö", "oe").replace("ü", "ue")
    text = unicodedata.normalize("NFKD", text)
    text = "".join(mark for mark in text if not unicodedata.combining(mark))
    parts = [part.lower() for part in _PART.findall(text[:200])]
    for several, words in _pairs().items():
        for at in range(len(parts) - len(several) + 1):
            if tuple(parts[at : at + len(several)]) == several:
                return words | _words(" ".join(parts[:at] + parts[at + len(several) :]))
    found = set[str]()
    whole = _known().get("".join(parts))
    if whole and len(parts) > 1:
        return whole
    for part in parts:
        found |= _known().get(part) or _cut(part)
    return frozenset(found - _NONE)


def _cut(part: str) -> frozenset[str]:
    """A word that may be two: `kundentyp`; or in the plural."""
    known = _known()
    single = part.removesuffix("s")
    if single != part and single in known:
        return known[single]
    for at in range(len(part) - 2, 2, -1):
        if (begin := known.get(part[:at])) and (end := known.get(part[at:])):
            return begin | end
    return frozenset((single if len(part) > 4 and not part.endswith("ss") else part,))
