use super::super::expand::Entry;

pub const TABLE: &[Entry] = &[
    Entry::entity(
        "house",
        "ORG",
        "{town} {line}|{double} {line}|{double}|Hotel {last}|{brand} {line}|{country} {line}",
    ),
    Entry::name("line", "Airways|Tours|Ferries|Railways", "Cruises|Hotels"),
    Entry::word(
        "role",
        "pilot|guide|traveller|tourist|steward|driver|backpacker|hotel manager",
        "porter|skipper|hiker",
    ),
    Entry::word(
        "thing",
        "flight|hotel|trip|train|coach|beach|river bank|cloud over the coast|passport|record number of visitors|island|border|tour|view|journey|holiday|bus|ferry",
        "cruise|cabin|itinerary",
    ),
    Entry::word(
        "quality",
        "breakfast|room|scenery|weather|service|crossing|walk|last stage|sea view|welcome",
        "landing|harbour",
    ),
    Entry::rule(
        "event",
        "{per} flew from {loc} to {loc} with {house}\
        |{house} started a daily flight to {loc}\
        |we spent {number} nights at {house} in {loc}\
        |{per} crossed {land} by train\
        |the (flight|train|coach|ferry) to {loc} was {number} hours late\
        |{per} booked a tour of {loc} through {house}\
        |{house} lost the luggage of {per} in {loc}\
        |the {role} {per} led us along the bank of the river in {loc}\
        |{loc} opened its beach to {number} tourists\
        |the {role} drew a map of {loc} for {per}\
        |{per} walked from {loc} to {loc} with a tent\
        |{house} moved the (flight|tour|trip) from {loc} to {loc}\
        |we took the bus from {loc} along the coast\
        |{house} drove {number} visitors to the border\
        |{per} slept in a cabin near the harbour of {loc}\
        |the old town of {loc} filled with tourists from {house}\
        |{per} checked the map at the airport of {loc}",
        "{per} missed the (flight|train|coach|boat) to {loc}\
        |{house} cancelled {number} trips between {loc} and {loc}\
        |the {role} {per} showed us the old town of {loc}\
        |we took the night bus from {loc} to the coast\
        |{per} checked in at {house} after the (flight|trip|tour)\
        |{loc} welcomed {number} visitors on the island\
        |the {role} of {house} drove us to the border",
    ),
];
