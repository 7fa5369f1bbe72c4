"""Stories of losing and finding."""

from corpus.plot import Plot
from corpus.story_words import (
    FLYERS,
    GRASS_SPOTS,
    GREEN_PLACES,
    HIGH_SPOTS,
    MEETING_PLACES,
    ROOM_SPOTS,
    SMALL_SPOTS,
    TOYS,
    TREASURES,
)

_OWNED = (
    "{Hero} had a {pretty} {colour} {thing}.",
    "{Hero} had {a_colour} {thing}. It was {his} favorite thing.",
    "{His} favorite thing was {a_colour} {thing}.",
    "{Hero} loved {his} {colour} {thing} very much.",
    "{His} {mom} had given {him} {a_colour} {thing}.",
)
_FOUND_ENDINGS = (
    "From then on, {hero} always took good care of {his} {thing}.",
    "{Evening}, {hero} fell asleep with the {colour} {thing} next to {him}.",
    "{Hero} was {glad} to have {his} {colour} {thing} back.",
    '"I will never lose you again," {hero} said to the {colour} {thing}.',
    "{Hero} put the {colour} {thing} in a safe place.",
    "And {hero} played with {his} {colour} {thing} all day long.",
)
_LOST = (
    _OWNED,
    (
        "{One_day}, {hero} could not find the {thing}.",
        "But {one_day}, the {thing} was gone.",
        "{One_day}, {he} wanted to play with it, but the {thing} was not there.",
        "{One_day}, {hero} woke up and the {thing} was missing.",
        'But {one_day}, {he} looked for it and could not see it. "Where is my {thing}?" {he} {cried}.',
    ),
    (
        "{Hero} was {sad}.",
        "{He} felt {sad} and began to cry.",
        "A tear ran down {his} face.",
        "{Hero} was so worried that {he} could not eat.",
        "",
    ),
    (
        "{He} looked {wrong}, but it was not there.",
        "First {he} looked {wrong}. No {thing}! Then {he} looked {wrong2}, but it was not there.",
        "{He} looked {wrong} and {wrong2}, but {he} did not find it.",
        "{He} searched everywhere, even {wrong}.",
    ),
)
LOST_ALONE = (
    *_LOST,
    (
        '"Think, {hero}," said {his} {mom}. "Where did you play with it last?"',
        '{His} {mom} {said}, "Do not worry. We will look for it together."',
        '"What is wrong?" asked {his} {mom}. "I lost my {thing}," said {hero}.',
        '"Do not give up," {his} {mom} told {him}. "Things do not just fly away."',
    ),
    (
        "{Soon}, {he} looked {spot}. There was the {colour} {thing}!",
        "{Soon}, {hero} saw something {colour} {spot}. It was the {thing}!",
        "{Soon}, they looked {spot}, and there it was.",
        "At last, {hero} found the {colour} {thing} {spot}.",
    ),
    (
        '{Hero} {smiled}. "Thank you, {ma}!"',
        '"I found it!" {cried} {hero}.',
        "{He} {hugged} {his} {mom}.",
        "{Hero} was {glad}.",
    ),
    _FOUND_ENDINGS,
)
LOST_WITH_PAL = (
    *_LOST,
    (
        'Then {his} {friend} came by. "Why are you sad, {hero}?" asked {pal}.',
        "{Hero} told {his} {friend} about it.",
        '{His} {friend} heard about it. "I will help you, {hero}," {phe} said.',
    ),
    (
        '"I lost my {colour} {thing}," said {hero}. {Pal} said, "Let us look together!"',
        '"Your {colour} {thing}? Let us look for it," said {pal}.',
        '{Pal} took {hero} by the hand. "Come, two can see more than one," {phe} {said}.',
    ),
    (
        "{Pal} looked {spot} and found the {colour} {thing}!",
        '{Soon}, {pal} called, "Look, {hero}!" The {colour} {thing} was {spot}.',
        "They looked {spot}, and there was the {colour} {thing}.",
        "{Soon}, {pal} saw the {thing} {spot}.",
    ),
    (
        '"Thank you, {pal}!" said {hero}.',
        '"You are a good friend, {pal}," {hero} {said}.',
        "{Hero} {smiled} and hugged {pal}.",
        "{Hero} was {glad}, and so was {pal}.",
    ),
    (
        "{Hero} and {pal} played with the {colour} {thing} until it was dark.",
        *_FOUND_ENDINGS,
        "A good friend helps you find what you have lost.",
    ),
)
BLOWN_AWAY = (
    (
        "{One_day}, {hero} took {his} {colour} {thing} to the {place}.",
        "{Hero} had {a_colour} {thing}. {One_day}, {he} took it to the {place}.",
        "{His} {mom} gave {him} {a_colour} {thing}, and {hero} ran to the {place} with it.",
        "{One_day}, {hero} was {at} with {his} {pretty} {colour} {thing}.",
    ),
    (
        "{Then}, a strong wind came. It took the {thing} out of {his} hands.",
        "{Then}, the wind blew hard, and the {thing} flew away.",
        'The wind blew and blew. "Oh no!" {cried} {hero}. The {thing} flew up into the air.',
        "But the wind was too strong, and {hero} let go of the {thing}.",
    ),
    (
        "It landed {spot}.",
        "It went up and up, and then it got stuck {spot}.",
        "The {colour} {thing} came down {spot}, far too high for {hero}.",
    ),
    (
        "{Hero} jumped, but {he} could not reach it.",
        "{He} jumped as high as {he} could, but it was too high. {He} was {sad}.",
        "{Hero} threw a stick at it, but the {thing} did not move.",
        "{Hero} looked up at it and was {sad}.",
    ),
    (
        'Then {his} {friend} came along. "I can help you," said {pal}.',
        '{His} {friend} saw {him}. "Do not cry, {hero}," said {pal}. "I have an idea."',
        '{Hero} called {his} {friend}. "Please help me, {pal}!" {he} said.',
    ),
    (
        "{Pal} had a long stick. {Phe} pushed the {thing}, and it fell down.",
        "{Pal} brought a ladder, climbed up and got the {colour} {thing}.",
        "{Hero} stood on the back of {pal}, and now {he} could reach the {thing}.",
        "{Pal} climbed up, step by step, and came back with the {colour} {thing}.",
    ),
    (
        '"Thank you, {pal}!" said {hero}. "You saved my {thing}!"',
        '"Here is your {thing}, {hero}," said {pal}. {Hero} was {glad}.',
        "{Hero} {smiled} and thanked {pal}.",
    ),
    (
        "{Hero} and {pal} played {at} with the {colour} {thing} all day.",
        "From then on, {hero} held {his} {thing} with both hands.",
        "After that, {hero} and {pal} always went to the {place} together.",
        "{Evening}, they went home with the {colour} {thing}, tired and happy.",
    ),
)
OWNER = (
    (
        "{One_day}, {hero} went to the {place}. {Spot}, {he} found {a_colour} {thing}.",
        "{One_day}, {hero} walked {at} and saw {a_colour} {thing} {spot}.",
        "{One_day}, {hero} saw something {colour} {spot} {at}. It was {a_pretty} {thing}!",
    ),
    (
        '"How {pretty}!" {he} thought. "I want to keep it."',
        '"Whose {thing} is this?" {he} asked, but no one was there.',
        "{He} picked up the {thing} and looked at it for a long time.",
        "{Hero} put the {colour} {thing} in {his} bag.",
    ),
    (
        "{Then}, {he} heard someone cry. It was {a_pal_kind} named {pal}.",
        "{Soon}, {he} met {a_pal_kind} named {pal}, who was {sad}.",
        "{Then}, {a_pal_kind} named {pal} came by and looked all over the ground.",
    ),
    (
        '"What is wrong?" asked {hero}. "I lost my {colour} {thing}," said {pal}.',
        '"I cannot find my {colour} {thing}," said {pal}. "My {mom2} gave it to me."',
        '"Have you seen my {thing}?" asked {pal}. "It is {colour}, and I miss it so much."',
    ),
    (
        "{Hero} wanted to keep it, but {he} knew what was right.",
        "{Hero} thought for a moment. The {thing} did not belong to {him}.",
        "{Hero} looked at the {colour} {thing} one last time.",
        "",
    ),
    (
        '"Is this yours?" {he} asked, and gave the {colour} {thing} to {pal}.',
        '"Here it is," said {hero}. "I found your {thing} {spot}."',
        '{Hero} held out the {colour} {thing}. "Look what I found, {pal}!"',
    ),
    (
        '{Pal} {smiled}. "Thank you, {hero}! You are so honest."',
        '"Oh, thank you!" {cried} {pal}, and {phe} hugged {hero}.',
        '"My {thing}!" {cried} {pal}. "You are very kind, {hero}."',
    ),
    (
        "From that day on, {hero} and {pal} were best friends.",
        "{Hero} felt warm inside. It is good to be honest.",
        "{Hero} had given back {a_thing}, but {he} had found a friend.",
        "Then {hero} and {pal} played {at} until the sun went down.",
    ),
)
LOST_CHILD = (
    (
        "{One_day}, {hero} went to the {place} with {his} {mom}.",
        "{One_day}, {hero} and {his} {mom} were {at}.",
        "{His} {mom} took {hero} to the {place} {one_day}.",
    ),
    (
        "{Hero} saw {a_colour} butterfly and ran after it.",
        "{He} saw {a_colour} bird and followed it a long way.",
        "{A_colour} cat ran by, and {hero} went after it.",
        "There was so much to see that {hero} walked on and on.",
    ),
    (
        "When {he} turned around, {his} {mom} was not there.",
        '{Then}, {he} stopped. "{Ma}? Where are you?" {he} {cried}. No one answered.',
        "{Soon}, {hero} did not know where {he} was.",
    ),
    (
        "{Hero} was afraid, and {he} began to cry.",
        "{His} heart beat fast. {He} was all alone.",
        "{Hero} was scared, but {he} tried to be brave.",
        "{Hero} was {sad} and scared.",
    ),
    (
        '{Then}, {neighbour}, a kind old {woman}, saw {him}. "Are you lost?" asked {neighbour}.',
        'An old {woman} came by. It was {neighbour}. "Do not cry, {hero}," {nhe} {said}.',
        '"{Hero}, why are you alone?" asked {neighbour}, the {woman} from next door.',
    ),
    (
        '"I cannot find my {mom}," said {hero}. "I saw {ahim} by the gate," said {neighbour}.',
        '"I lost my {mom}," said {hero}. {Neighbour} took {his} hand and walked back with {him}.',
        '"Stay here with me," said {neighbour}. "Your {mom} will come back for you."',
    ),
    (
        "{Soon}, {hero} saw {his} {mom}. {He} ran into {ahis} arms.",
        '{Then}, {hero} heard a voice. "{Hero}! There you are!" It was {his} {mom}.',
        "{Soon}, {his} {mom} came running and held {him} tight.",
    ),
    (
        '"I was so worried," said {his} {mom}. "I am sorry, {ma}," said {hero}.',
        "They thanked {neighbour} and went home together.",
        '"Thank you, {neighbour}," said {his} {mom}.',
        '"I will not run off again," said {hero}.',
    ),
    (
        "After that day, {hero} always stayed close to {his} {mom} {at}.",
        "{Hero} held the hand of {his} {mom} all the way home.",
        "{Evening}, {hero} was safe and warm in bed.",
        "{Hero} was {glad} to be safe.",
    ),
)
_MOM2 = ({"mom2": "grandma"}, {"mom2": "mom"}, {"mom2": "dad"}, {"mom2": "aunt"}, {"mom2": "uncle"})
_SPOTS = "spot wrong wrong2"

FINDING_PLOTS = (
    Plot({"thing": TOYS, _SPOTS: ROOM_SPOTS}, LOST_ALONE),
    Plot({"thing": TREASURES, _SPOTS: SMALL_SPOTS}, LOST_WITH_PAL),
    Plot({"thing": FLYERS, "spot": HIGH_SPOTS, "where": GREEN_PLACES}, BLOWN_AWAY),
    Plot({"thing": TREASURES, "spot": GRASS_SPOTS, "where": GREEN_PLACES, "kin": _MOM2}, OWNER),
    Plot({"where": MEETING_PLACES}, LOST_CHILD, animals=False),
    Plot({"thing": TOYS, _SPOTS: ROOM_SPOTS}, LOST_WITH_PAL),
    Plot({"thing": TREASURES, _SPOTS: SMALL_SPOTS}, LOST_ALONE),
    Plot({"thing": TOYS, "spot": GRASS_SPOTS, "where": GREEN_PLACES, "kin": _MOM2}, OWNER),
)
