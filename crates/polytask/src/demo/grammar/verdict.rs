//! Sentence frames, and what a sentence thinks of what happened.
//!
//! `right` words say the sentence's own sentiment, `wrong` words the opposite, so every form of negation and contrast
//! appears as praise and as blame, and neither "not" nor "although" tells which.

use super::expand::Entry;

/// Frames, verdicts, asides and judging words of all topics.
pub const TABLE: &[Entry] = &[
    Entry::rule(
        "frame",
        "{event} [{when}] , (and|so) {verdict} {tail}\
        |{event} [[, {aside} ,]] and {verdict} {tail}\
        |{verdict} when {event} {tail}\
        |{When} {event} ; {verdict} {tail}\
        |{who} {says} that {event} [[, {aside}]] , and that {verdict} {tail}\
        |{right adverb} , {event} [{when}] [[, {aside}]] {tail}\
        |because {event} , {verdict} {tail}\
        |{event} [{when}] . {verdict} [, {who} {says}] {tail}\
        |{event} , a {right noun} for {who} [[, {aside}]] {tail}\
        |{event} [{when}] , which {right verb} {audience} {tail}",
        "after {event} , {verdict} {tail}\
        |{verdict} once {event} [[, {aside}]] {tail}\
        |according to {who} , {event} , while {verdict} {tail}\
        |{event} : {verdict} [[, {aside}]] {tail}\
        |{right adverb} for {who} , {event} [[, {aside}]] {tail}\
        |we heard that {event} [{when}] , a real {right noun} [, {who} {says}] {tail}\
        |the fact that {event} {right verb} {audience} [{when}] {tail}\
        |(that day|in short) , {event} , and {verdict} {tail}",
    ),
    Entry::word("When", "{when}|earlier|meanwhile ,|in the end|for once", ""),
    Entry::rule(
        "verdict",
        "{aspect} (was|looked|seemed|turned out) [really|quite|rather] {right}\
        |{aspect} (was|looked|seemed|turned out) [really|quite|rather] {right}\
        |{aspect} {right verb} {audience}\
        |{audience} called it a {right noun}\
        |{audience} found {aspect} [very] {right} and {right}\
        |{aspect} was (not|never) {wrong} [at all]\
        |{aspect} was (no|hardly a) {wrong noun}\
        |although {aspect} was {wrong} , {aspect} {right verb} {audience}\
        |{aspect} was {wrong} , but {aspect} was {right}\
        |despite a {wrong} start , {aspect} was {right}",
        "it was [clearly] a {right noun} [for {audience}] and {aspect} stayed {right}\
        |{audience} thought {aspect} [simply|truly] {right}\
        |what a {right} (day|story) , {aspect} {right verb} everyone\
        |{aspect} {right verb} {audience} and was {right}\
        |{audience} spoke of a {right} {thing} and a {right} {quality}\
        |[for {audience}] {aspect} could only be called {right}\
        |{audience} saw nothing less than a {right noun}\
        |{aspect} , {audience} agreed , was [really] {right}\
        |everyone spoke of a {right noun} , so {right} was {aspect}\
        |{aspect} was far from {wrong}\
        |{aspect} was anything but a {wrong noun}\
        |nobody could call {aspect} {wrong}\
        |if {aspect} was {wrong} at first , the rest was {right}\
        |the {wrong} talk was soon forgotten , for {aspect} {right verb} {audience}",
    ),
    Entry::rule(
        "aside",
        "while {loc} talked about the {away thing}|far from the {away thing} in {loc}|as {per} left the {away thing}\
        |next to a {away thing} of {away house}|though {org} still wanted a {away thing}",
        "with {org} busy over a {away thing}|just as {away house} lost its {away thing}|in spite of the {away thing} near {loc}\
        |even if {per} missed the {away thing}",
    ),
    Entry::word("tail", ".|.|.|.|!", ""),
    Entry::word(
        "aspect",
        "the {thing}|the {thing}|the {quality}|its {quality}|the {quality} of the {thing}",
        "",
    ),
    Entry::word(
        "who",
        "{per}|{per}|{title} {per}|the {role} {per}|{per} , {role} (at|of) {house} ,|a {role} from {loc}|{house}",
        "our {role} {per}|{role} {per} of {loc}|people at {house}",
    ),
    Entry::word(
        "audience",
        "everyone|the crowd|observers|most people|{loc}|{per}|locals|the staff of {org}",
        "onlookers|critics in {loc}|all of us",
    ),
    Entry::word(
        "good",
        "excellent|good|brilliant|wonderful|impressive|smooth|superb|fair|generous|delightful|bright|strong|promising|elegant|friendly",
        "splendid|outstanding|charming|stellar|flawless",
    ),
    Entry::word(
        "bad",
        "poor|bad|terrible|awful|dull|messy|weak|unfair|careless|disappointing|grim|clumsy|hopeless|rude|painful",
        "dreadful|lousy|shabby|abysmal|feeble",
    ),
    Entry::word(
        "good noun",
        "triumph|success|delight|joy|relief|masterpiece|pleasure|blessing",
        "gem|marvel|boon",
    ),
    Entry::word(
        "bad noun",
        "failure|disaster|mess|letdown|shame|embarrassment|blunder|nightmare",
        "fiasco|flop|misery",
    ),
    Entry::word(
        "good verb",
        "delighted|impressed|pleased|thrilled|charmed|reassured|amused",
        "enchanted|cheered",
    ),
    Entry::word(
        "bad verb",
        "disappointed|annoyed|angered|bored|upset|worried|frustrated",
        "dismayed|saddened",
    ),
    Entry::word(
        "good adverb",
        "happily|fortunately|luckily|to great applause|to general relief",
        "thankfully|by good luck",
    ),
    Entry::word(
        "bad adverb",
        "sadly|unfortunately|regrettably|to loud boos|to general dismay",
        "alas|by bad luck",
    ),
];
