use super::super::expand::Entry;

pub const TABLE: &[Entry] = &[
    Entry::entity("house", "ORG", "{brand}|{brand}|{double}|{brand} {maker}|{last} {maker}|{double} {maker}"),
    Entry::name("maker", "Systems|Software|Robotics|Networks", "Semiconductors|Devices"),
    Entry::word(
        "role",
        "engineer|programmer|developer|hacker|designer|analyst|tester|founder",
        "coder|technician|architect",
    ),
    Entry::word(
        "thing",
        "phone|cloud|virus|data bank|record|network|app|server|battery|trial version|software update|cell tower|robot|chip|computer|laptop|website|data centre",
        "browser|keyboard|sensor",
    ),
    Entry::word(
        "quality",
        "interface|design|speed|screen|security|code|sound|pattern match|privacy|camera",
        "memory|setup",
    ),
    Entry::rule(
        "event",
        "{house} released a new {thing} in {loc}\
        |{per} wrote the code of the {thing} for {house}\
        |a virus reached {number} computers at {house}\
        |{house} moved its data to the cloud of {house}\
        |the {role} {per} found a bug in the {thing}\
        |{per} showed a robot from {house} in {loc}\
        |{house} shut down its servers in {loc}\
        |the {thing} of {house} lost {number} hours of data\
        |{per} left {house} to found {house}\
        |users in {loc} got the (update|app) from {house}\
        |{house} put a cell tower next to {loc}\
        |the {role} of {house} let {per} try the trial version\
        |hackers broke into the network of {house}\
        |{per} lost the password of the {thing}\
        |{house} designed a chip for the phone of {house}\
        |the screen of the phone from {house} broke in {loc}\
        |{per} made the source code of {house} open",
        "{house} updated the {thing} for {number} users\
        |{per} built a chip for {house} in {loc}\
        |hackers from {loc} stole the passwords of {house}\
        |the {role} {per} demonstrated a phone without a screen\
        |{house} made the {thing} open source\
        |{per} plugged the {thing} into the network of {house}\
        |the app of {house} crashed {number} times in {loc}",
    ),
];
