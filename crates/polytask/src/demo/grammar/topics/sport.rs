use super::super::expand::Entry;

pub const TABLE: &[Entry] = &[
    Entry::entity("house", "ORG", "{town} {club}|{town} {club}|{double}|{double} {club}|FC {town}"),
    Entry::name("club", "United|Rovers|City|Athletic", "Wanderers|Albion"),
    Entry::word(
        "role",
        "striker|goalkeeper|coach|captain|sprinter|swimmer|referee|midfielder|rower",
        "winger|umpire|jockey",
    ),
    Entry::word(
        "thing",
        "match|pitch|record|court|trial|draw|race|goal|season|cup|penalty|bank holiday game|training camp|league|trophy|team|game|medal",
        "derby|relay|tournament",
    ),
    Entry::word(
        "quality",
        "defence|attack|finish|pace|second half|teamwork|footwork|serve|stage win|crowd",
        "passing|stamina",
    ),
    Entry::rule(
        "event",
        "{per} signed for {house} on a {number} year deal\
        |{house} beat {house} by {number} goals in {loc}\
        |{house} drew (the match|the derby|a cup game) against {house}\
        |{per} broke the national record in {loc}\
        |the {role} {per} (missed|scored) a late penalty for {house}\
        |{per} won the (match|trial|race) on a (clay|wet|hard) court in {loc}\
        |{per} ran the (race|trial|marathon) in {number} minutes\
        |{house} hired {per} as [their] new coach\
        |the {role} left the pitch injured before the (match|goal|cup game) with {house}\
        |{number} fans watched {house} play {house}\
        |{loc} hosted the final of the (cup|season|league) between {house} and {house}\
        |{house} gave a trial to the young {role} {per}\
        |supporters of {house} sang for the {role} {per}\
        |{per} swam to a medal and a trophy in {loc}\
        |{per} served {number} double faults in the match\
        |the league fined {house} after the {thing} with {house}\
        |{house} and {house} shared {number} points in {loc}",
        "{house} lost the (match|cup game|race) at home to {house}\
        |{per} lifted the trophy for {house} in {loc}\
        |the {role} {per} served {number} aces in {loc}\
        |{house} moved up the league after the (match|draw) with {per} as captain\
        |{per} returned to {loc} to swim in the (race|trial|relay)\
        |a goal by {per} decided the (match|season|cup)\
        |the {role} of {house} retired in front of {number} supporters",
    ),
];
