use super::super::expand::Entry;

pub const TABLE: &[Entry] = &[
    Entry::entity(
        "house",
        "ORG",
        "{town} {ward}|{last} {ward}|{double} {ward}|{double}|{last} {body}|{brand} Pharma",
    ),
    Entry::name("ward", "Hospital|Clinic|Health", "Infirmary|Hospice"),
    Entry::word(
        "role",
        "doctor|nurse|surgeon|patient|dentist|midwife|researcher|pharmacist",
        "therapist|paramedic|consultant",
    ),
    Entry::word(
        "thing",
        "virus|trial|vaccine|blood bank|treatment|operation|donor match|drug|cell sample|diet|medical record|clinic|stage two study|fever|surgery|medicine|therapy|symptom",
        "infection|transplant|scan",
    ),
    Entry::word(
        "quality",
        "care|recovery|diagnosis|waiting time|advice|hygiene|test result|dose|sleep",
        "nursing|prognosis",
    ),
    Entry::rule(
        "event",
        "{house} tested a vaccine on {number} patients\
        |the {role} {per} treated {per} at {house}\
        |{per} joined a trial of the (vaccine|drug|treatment) in {loc}\
        |the virus spread from {loc} to {loc}\
        |{house} closed a ward in {loc}\
        |{per} spent {number} days at {house} with a fever\
        |{house} found a donor match for {per}\
        |the {role} of {house} kept no record of the (dose|fever|operation)\
        |doctors in {loc} gave {per} a new drug\
        |{per} drew blood from {number} people for the (blood bank|trial)\
        |{house} and {house} published a study on the {thing}\
        |the surgeon {per} operated on a {role} from {loc}\
        |nurses at {house} took {per} off the medicine\
        |an ambulance from {house} came for the children in {loc}\
        |{per} had {number} symptoms after the {thing}\
        |{house} waited for a vaccine from {house}\
        |the hospital in {loc} asked {per} about the pain",
        "{per} recovered from the (virus|fever|operation) at {house}\
        |{house} sent {number} nurses to {loc}\
        |the {role} {per} stopped the (trial|treatment|diet) after {number} days\
        |patients in {loc} waited for the (vaccine|operation|doctor)\
        |{per} was taken to {house} by ambulance\
        |a study by {house} looked at the symptoms of {number} children\
        |{loc} ordered the medicine from {house}",
    ),
];
