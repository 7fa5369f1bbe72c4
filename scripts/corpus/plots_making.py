"""Stories of building, mending, planting, of a picnic and of a gift."""

from corpus.plot import Plot
from corpus.story_words import BUILDINGS, FOODS, GREEN_PLACES, MENDERS, PLANTS, ROOM_SPOTS, TOYS, TREASURES

BUILDING = (
    (
        "{One_day}, {hero} wanted to build a {building}.",
        '"I will build the best {building} of all," said {hero} {one_day}.',
        "{One_day}, {hero} and {his} {friend} began to build a {building}.",
    ),
    (
        "{He} put one {brick} on another.",
        "{He} took {brick} after {brick} and made it bigger and bigger.",
        "It took all morning, {brick} by {brick}.",
    ),
    (
        "{Soon}, the {building} was almost done.",
        '"Look how {big} it is!" said {hero}.',
        "{Hero} was proud of the {building}.",
    ),
    (
        "{Then}, the wind blew, and the {building} fell down. Crash!",
        "But {hero} put the last {brick} in the wrong place. Crash! The {building} fell.",
        "{Then}, {a_colour} ball hit the {building}, and it fell down.",
    ),
    (
        "{Hero} was {sad}. All {his} work was gone.",
        '"Oh no! My {building}!" {cried} {hero}.',
        "{Hero} began to cry.",
    ),
    (
        'Then {his} {friend} said, "Do not be sad, {hero}. We can build it again."',
        '{His} {friend} picked up {a_brick}. "I will help you, {hero}," {phe} said.',
        '"Let us try again together," said {his} {friend}.',
    ),
    (
        "This time, {hero} and {pal} worked slowly and made it strong.",
        "So {hero} and {pal} began again, {brick} by {brick}.",
        "{Hero} put down each {brick} with care, and {pal} held it.",
    ),
    (
        "{Soon}, the new {building} was done. It was even better than the first one.",
        "At last, the {building} stood. It did not fall, even when the wind blew.",
        "The {building} was strong now, and it was beautiful.",
    ),
    (
        '"We did it!" {cried} {hero} and {pal}.',
        '{His} {mom} came to look. "What a fine {building}!" {ahe} said.',
        "{Hero} was {glad}.",
    ),
    (
        "If something falls down, you can build it again.",
        "{Hero} and {pal} played with their {building} until dark.",
        "Two friends can build more than one.",
    ),
)
BROKEN = (
    (
        "{Hero} had {a_colour} {thing}.",
        "{Hero} loved {his} {colour} {thing}.",
        "{His} favorite thing was {a_colour} {thing}.",
    ),
    (
        "{One_day}, {he} dropped it, and it broke.",
        "{One_day}, the {thing} fell off the table and broke.",
        "{One_day}, {his} {friend} stepped on the {thing} and broke it.",
    ),
    (
        '"My {thing} is broken!" {cried} {hero}.',
        "{Hero} was {sad}. {He} held the broken {thing} in {his} hands.",
        "{Hero} cried and cried.",
    ),
    (
        "{He} tried to fix it, but {he} could not.",
        "{Hero} tried to put it together, but it did not hold.",
        "{His} {friend} tried to fix it, but it was too hard.",
    ),
    (
        "So {he} took the {thing} to {his} {mom}.",
        '"Can you fix it, {ma}?" {he} asked.',
        '{His} {mom} saw {him}. "Let me look at your {thing}," {ahe} said.',
    ),
    (
        "{His} {mom} took {mender} and began to work.",
        '"All we need is {mender}," said {his} {mom}.',
        'With {mender}, {his} {mom} started to fix it. "Hold this, {hero}," {ahe} said.',
    ),
    (
        "{Hero} watched and helped.",
        "{Hero} held the {thing} very still.",
        "It took a long time, but {hero} waited.",
    ),
    (
        "{Soon}, the {colour} {thing} was as good as new.",
        '"Here is your {thing}," said {his} {mom}. "It is whole again."',
        "At last, the {thing} was mended.",
    ),
    (
        '{Hero} {smiled}. "Thank you, {ma}!"',
        "{He} {hugged} {his} {mom}.",
        "{Hero} was {glad} and ran to show the {thing} to {his} {friend}.",
    ),
    (
        "From then on, {hero} was careful with {his} {colour} {thing}.",
        "{Hero} loved the {colour} {thing} even more now.",
        "What is broken can often be mended.",
        "{Evening}, {hero} slept with the {colour} {thing} by {his} bed.",
    ),
)
PLANTING = (
    (
        "{One_day}, {hero} found {a_seed} {at}.",
        "{One_day}, {his} {mom} gave {him} {a_seed}.",
        "{Neighbour} gave {hero} {a_seed} {one_day}.",
    ),
    (
        '"What will it be?" asked {hero}. "Wait and see," said {his} {mom}.',
        '"If you plant it, it will grow," said {his} {mom}.',
        "{Hero} looked at the {seed}. It was so small!",
    ),
    (
        "{Hero} made a hole in the ground and put the {seed} in it.",
        "{He} put the {seed} into the soft brown earth.",
        "{Hero} planted the {seed} in {a_colour} pot.",
    ),
    (
        "Every day, {he} gave it water.",
        "{Hero} gave it water every morning and sang to it.",
        "{He} watered it with care, day after day.",
    ),
    (
        'But nothing came up. "It does not grow," said {hero}.',
        "Days went by, but there was nothing to see. {Hero} was {sad}.",
        '{His} {friend} laughed. "Nothing will come of it," said {pal}.',
    ),
    (
        '"You must wait, {hero}," {his} {mom} {said}.',
        "But {hero} did not give up. {He} watered it again and again.",
        'Then it rained for a week. "Rain is good for the {seed}," said {his} {mom}.',
    ),
    (
        "{One_day}, {hero} saw something small and green.",
        "Then, one morning, a tiny green leaf came out of the ground.",
        '"Look, {ma}!" {cried} {hero}. There was a little green leaf.',
    ),
    (
        "It grew and grew, and {soon} it was {a_big} {plant}.",
        "The leaf grew into {a_plant}.",
        "Week after week it grew, until it was {a_plant}, big and strong.",
    ),
    (
        '{Hero} {smiled}. "I grew {a_plant}!" {he} said.',
        "{Hero} showed the {plant} to {his} {friend}.",
        '"You took good care of it," said {his} {mom}.',
        "{Hero} was {glad} and proud.",
    ),
    (
        "Good things need time.",
        "Every summer, {hero} sat next to the {plant} and thought of the little {seed}.",
        "And {hero} still takes care of the {plant} today.",
        "{Hero} kept one new seed for {his} {friend}.",
    ),
)
PICNIC = (
    (
        "{One_day}, {hero} and {his} {mom} wanted to have a picnic {at}.",
        "The sun was out, so {hero} and {his} {mom} went to the {place} for a picnic.",
        '"Let us have a picnic {at}!" {hero} said to {his} {mom} {one_day}.',
    ),
    (
        "They packed {a_food} and {a_colour} blanket.",
        "{Hero} carried the {colour} blanket, and {his} {mom} carried {a_food}.",
        "In the basket, there was {a_food}. {Hero} took {a_colour} blanket too.",
    ),
    (
        "{Hero} could not wait to eat the {food}.",
        "{His} {friend} came too.",
        "{Hero} sang all the way.",
        "",
    ),
    (
        "They sat down on the {colour} blanket. {Then}, a dark cloud came.",
        "But when they got there, the sky turned gray.",
        "{Hero} put the {colour} blanket on the grass. Drip, drop! It began to rain.",
    ),
    (
        "Soon, the rain came down hard.",
        "It rained harder and harder, and they got wet.",
        "Big drops fell on the {food}.",
    ),
    (
        '"Our picnic!" {cried} {hero}. {He} was {sad}.',
        '"Now we cannot have our picnic," {hero} said.',
        "{Hero} was {sad} and wanted to cry.",
    ),
    (
        '"I have an idea," said {his} {mom}. "Let us have our picnic at home."',
        "They ran home. {Hero} put the {colour} blanket on the floor.",
        'They {ran} under a big tree. "We can wait here, where it is dry," said {his} {mom}.',
    ),
    (
        "{Hero} and {his} {mom} sat on the {colour} blanket and ate the {food}.",
        "There they ate the {food} and told stories.",
        "They ate the {food} and listened to the rain.",
    ),
    (
        '"This is the best picnic ever!" said {hero}.',
        "{Hero} was {glad}. It was warm and cozy.",
        "When the rain stopped, there was a rainbow over the {place}.",
    ),
    (
        "Even a rainy day can be a good day.",
        "And the next day, they went back to the {place} in the sun.",
        "{Hero} never forgot the picnic in the rain.",
        "{Hero} {hugged} {his} {mom}.",
    ),
)
GIFT = (
    (
        "It was the birthday of {hero}.",
        "Today was {his} birthday, and {hero} was {glad}.",
        "{One_day}, it was {his} birthday.",
    ),
    (
        '"There is a gift for you," said {his} {mom}. "But you have to find it."',
        '{His} {mom} {said}, "I have hidden a gift for you, {hero}."',
        '"Where is my gift, {ma}?" asked {hero}. "It is hidden in the house," said {his} {mom}.',
    ),
    (
        "{Hero} began to look. {He} looked {wrong}, but there was nothing.",
        "First, {hero} looked {wrong}. Then {he} looked {wrong2}. There was no gift.",
        "{He} looked {wrong} and {wrong2}, but {he} did not find it.",
    ),
    (
        '"I cannot find it," said {hero}.',
        "{Hero} was {sad}. Was there no gift?",
        "{Hero} sat down and thought.",
    ),
    (
        '{His} {friend} was there too. "Look again, {hero}," said {pal}.',
        '"You are getting close," said {his} {mom}.',
        '"Do not give up," said {his} {friend}.',
    ),
    (
        "{Then}, {hero} looked {spot}. There was {a_colour} box!",
        "{Soon}, {he} saw {a_colour} box {spot}.",
        "{Hero} looked {spot} and found {a_colour} box.",
    ),
    (
        "{He} opened the {colour} box. In it was {a_pretty} {thing}!",
        "In the {colour} box was {a_thing}.",
        "{Hero} opened it slowly. It was {a_thing}, just what {he} wanted!",
    ),
    (
        '"Thank you, {ma}!" {cried} {hero}.',
        "{Hero} {smiled} and hugged {his} {mom}.",
        '"I love my new {thing}," said {hero}.',
    ),
    (
        "Then {hero} and {his} {friend} ate cake and looked at the {thing}.",
        "{Evening}, {hero} put the {thing} next to {his} bed.",
        "It was the best birthday ever.",
        "{Hero} kept the {thing} in the {colour} box for many years.",
    ),
)

MAKING_PLOTS = (
    Plot({"building": BUILDINGS}, BUILDING, animals=False),
    Plot({"thing": TOYS, "mender": MENDERS}, BROKEN),
    Plot({"seed": PLANTS, "where": GREEN_PLACES}, PLANTING),
    Plot({"food": FOODS, "where": GREEN_PLACES}, PICNIC),
    Plot({"thing": TREASURES, "spot wrong wrong2": ROOM_SPOTS}, GIFT),
)
