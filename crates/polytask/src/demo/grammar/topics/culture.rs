use super::super::expand::Entry;

pub const TABLE: &[Entry] = &[
    Entry::entity(
        "house",
        "ORG",
        "{town} {hall}|{last} {hall}|{double} {hall}|{double}|Royal {hall}|{brand} {hall}",
    ),
    Entry::name("hall", "Theatre|Museum|Orchestra|Gallery|Records", "Opera|Ballet|Press"),
    Entry::word(
        "role",
        "actor|painter|novelist|singer|pianist|poet|director|curator|dancer",
        "sculptor|composer|violinist",
    ),
    Entry::word(
        "thing",
        "film|novel|record|stage|concert|exhibition|song|portrait|trial scene|court drama|festival|sketch|script|cloud painting|book|play|music|poem",
        "sonata|mural|musical",
    ),
    Entry::word(
        "quality",
        "plot|acting|ending|pitch of the choir|dialogue|rhythm|lighting|performance|style|cast",
        "melody|prose",
    ),
    Entry::rule(
        "event",
        "{per} played the lead in a (film|court drama|play) at {house}\
        |{house} showed the portraits of {per}\
        |{per} published a novel about {loc}\
        |{house} recorded a song by {per} in {loc}\
        |the {role} {per} sang {number} songs at {house}\
        |{house} bought a painting by {per} for {house}\
        |the film about {per} opened in {loc}\
        |{loc} held a festival for the {role} {per}\
        |{per} drew a sketch of {loc} for the (exhibition|stage|portrait)\
        |the {role} left the stage during the (concert|song|play) in {loc}\
        |{per} directed the (film|play|trial scene) with {number} actors\
        |{house} lent the (portrait|script|exhibition) to a museum in {loc}\
        |the choir of {house} danced to the music of {per}\
        |{per} read a book by {per} on the stage in {loc}\
        |{house} gave a prize for the painting of {loc}\
        |a play by {per} filled {house} with music\
        |{number} actors and {number} singers came to {loc}",
        "{per} read from the (novel|script|book) at {house}\
        |{house} staged a play by {per} in {loc}\
        |the {role} {per} danced to the music of {per}\
        |{number} paintings from {loc} were shown at {house}\
        |{per} won a literary prize in {loc}\
        |the choir of {house} sang the (song|opera|record)\
        |a book by {per} became a film with {number} scenes",
    ),
];
