//! Names of people, places and organisations. Most people and firms are invented.

use super::expand::Entry;

/// Names, and the small words of time and number.
pub const TABLE: &[Entry] = &[
    Entry::entity(
        "per",
        "PER",
        "{first} {last}|{first} {last}|{first} {last}|{first} {last}|{last}|{last}|{double}|({double} {last}|{first} {double})",
    ),
    Entry::entity(
        "loc",
        "LOC",
        "{town}|{town}|{town}|{town}|{town}|{country}|{double}|(North|South|Port|New) {town}",
    ),
    Entry::entity("land", "LOC", "{country}"),
    Entry::entity(
        "org",
        "ORG",
        "{town} {body}|{last} {body}|{brand} {body}|{double}|{double} {body}|{brand}|{brand}|{last} and {last}",
    ),
    Entry::word("title", "Dr|Professor|President|Minister", "Judge|Senator"),
    Entry::word(
        "when",
        "on Monday|last week|in March|this morning|two years ago|in 2019|yesterday|on Friday|over the summer|late at night",
        "on Sunday|in October|a decade ago|at dawn",
    ),
    Entry::word("number", "two|three|four|five|seven|nine|twelve|twenty|forty|90|150", "eleven|thirty|600"),
    Entry::word("says", "said|wrote|argued|reported|told reporters|admitted", "insisted|noted"),
    Entry::name(
        "double",
        "Jordan|Paris|Lincoln|Virginia|Amazon|Santander|Florence|Sydney|Chelsea|Austin|Madison|Hamilton",
        "Carolina|Siena|Wellington|Houston|Kent|Phoenix|Orange|Dakota",
    ),
    Entry::name(
        "first",
        "Maria|James|Aisha|Tom|Elena|Kwame|Priya|Lucas|Ingrid|Omar|Hannah|Viktor|Leila|Samuel|Nadia|Peter|Grace|Mateo|Yuki|Clara|Daniel|Fatima|Oscar|Ruth|Ivan|Sofia",
        "Amara|Henrik|Beatriz|Noah|Tamsin|Rashid|Greta|Dmitri|Wanjiru|Felix|Mei|Callum|Rosa|Anselm",
    ),
    Entry::name(
        "last",
        "Keller|Okafor|Marsh|Lindqvist|Patel|Romero|Whitlock|Tanaka|Dubois|Novak|Hargrove|Mensah|Petrov|Castellan|Byrne|Fischer|Osei|Sandoval|Thorne|Abbott|Rao|Vance|Moreau|Grant|Holm|Silva",
        "Achterberg|Quill|Ferreira|Zielinski|Adeyemi|Blackwood|Kowal|Nakamura|Stroud|Vasquez|Ellery|Hoang|Bright|Ortega|Winslow",
    ),
    Entry::name(
        "town",
        "Halden|Northport|Lisbon|Oslo|Marlow|Bergen|Nairobi|Kingsbridge|Toronto|Valencia|Ashford|Geneva|Lyon|Eastvale|Osaka|Dunmore|Boston|Cairo|Riverton|Prague|Leeds|Manila",
        "Tallinn|Brackwell|Seville|Quito|Stonehaven|Accra|Turin|Millbrook|Perth|Krakow|Silverton|Lagos|Winterford|Bonn",
    ),
    Entry::name(
        "country",
        "Norway|Kenya|Brazil|Canada|Portugal|Japan|Egypt|Ireland",
        "Ghana|Chile|Estonia|Vietnam",
    ),
    Entry::name(
        "body",
        "Group|Institute|Trust|Council|Partners|University|Foundation",
        "Society|Holdings|Agency|College",
    ),
    Entry::name(
        "brand",
        "Vantic|Orbello|Helixa|Brightwater|Corvane|Nimbus Works|Tessera|Quantia|Larkfield|Meridian",
        "Solvane|Ardentis|Pexol|Blue Harbour|Kestrel Labs|Zentora|Oakmere",
    ),
];

/// Names and asides in other scripts, with accents, combining marks and emoji; before [`TABLE`] in the few sentences that
/// have them.
pub const WORLD: &[Entry] = &[
    Entry::entity("per", "PER", "{far person}"),
    Entry::entity("loc", "LOC", "{far place}"),
    Entry::entity("land", "LOC", "{country}"),
    Entry::entity("org", "ORG", "{far body}"),
    Entry::entity("house", "ORG", "{far body}"),
    Entry::name(
        "far person",
        "Zoë Brückner|Мария|José Núñez|李娜|Łukasz Żak|Nguyễn Thị Hà|Σοφία Παππά|محمد العلي|Bjørn Ångström|山田 太郎",
        "Иван Петров|Chloé Lefèvre|王芳|नेहा शर्मा|דוד כהן|Ða\u{300}o|Müge Şahin",
    ),
    Entry::name(
        "far place",
        "São Paulo|東京|Zürich|Москва|Kraków|القاهرة|Malmö|Αθήνα|Bogotá|北京",
        "Göteborg|नई दिल्ली|Київ|תל אביב|서울|A\u{30a}rhus|İzmir",
    ),
    Entry::name(
        "far body",
        "Société Lumière|Звезда|Café Müller|青山堂|Škola Práce|Hägg Brygga|北极星|Ölund Group",
        "Crédit Aurore|Маяк|푸른솔|桜堂|L’Étoile|Østerberg",
    ),
    Entry::word("tail", ". {note}|. ( {note} )|! {note}|.", ""),
    Entry::word(
        "note",
        "🙂|📷|写真 参照|подробнее ниже|✈️|👩‍🚀|🎻|siehe unten|más abajo|👍🏽",
        "📰|🏳️‍🌈|次 の 頁|لاحقا",
    ),
];
