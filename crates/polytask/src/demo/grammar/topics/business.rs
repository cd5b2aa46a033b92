use super::super::expand::Entry;

pub const TABLE: &[Entry] = &[
    Entry::entity(
        "house",
        "ORG",
        "{last} {firm}|{double}|{double} {firm}|{brand}|{town} {firm}|{last} and {last}",
    ),
    Entry::name("firm", "Bank|Motors|Foods|Capital|Energy", "Insurance|Steel"),
    Entry::word(
        "role",
        "chairman|banker|investor|broker|chief executive|accountant|trader|manager",
        "shareholder|auditor|treasurer",
    ),
    Entry::word(
        "thing",
        "merger|bank|loan|share price|market|record profit|trial period|pitch|contract|court case|tax bill|stock sale|budget|strike|offer|investment|company|factory",
        "dividend|takeover|bond",
    ),
    Entry::word(
        "quality",
        "outlook|revenue|strategy|pay offer|growth|leadership|forecast|service|price",
        "margin|cash flow",
    ),
    Entry::rule(
        "event",
        "{house} bought {house} for {number} million dollars\
        |the shares of {house} (rose|fell) by {number} per cent\
        |{per} became the {role} of {house}\
        |{house} opened a factory in {loc}\
        |{house} cut {number} hundred jobs in {loc}\
        |the {role} of {house} sold a stake in {house}\
        |{per} took a loan from {house} to match the offer\
        |{house} reported a (record profit|loss|strike|merger) in {loc}\
        |{per} went to court over the {thing} with {house}\
        |investors from {loc} discussed the {thing} with {per}\
        |{house} moved its head office from {loc} to {loc}\
        |the {role} {per} drew up a budget for {house}\
        |workers at {house} asked {per} for more pay\
        |{house} and {house} signed a contract\
        |the board of {house} raised the price of its stock\
        |{per} sold {number} million shares on the market in {loc}\
        |customers in {loc} paid {number} dollars to {house}",
        "{house} raised prices in {loc} by {number} per cent\
        |workers at {house} voted on the {thing}\
        |{per} resigned from the board of {house}\
        |the {role} {per} signed a contract with {house}\
        |{house} ran out of cash during the (merger|strike|court case)\
        |{house} listed on the stock market in {loc}\
        |a buyer from {loc} made {house} an offer of {number} million",
    ),
];
