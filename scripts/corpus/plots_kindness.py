"""Stories of sharing, of friends and of help."""

from corpus.plot import Plot
from corpus.story_words import CHORES, FOODS, GREEN_PLACES, MEETING_PLACES, TOYS

SHARING = (
    (
        "{One_day}, {his} {mom} gave {him} {a_food}.",
        "{One_day}, {hero} sat {at} with {a_food}.",
        "{Hero} had {a_food} for lunch. {He} took it to the {place}.",
    ),
    (
        "It smelled so good!",
        '"Yum! This {food} is all for me," {hero} said.',
        "{Hero} was hungry and could not wait to eat it.",
        "It was the best {food} {hero} had ever seen.",
    ),
    (
        "Then {he} saw {his} {friend}. {Pal} had nothing to eat.",
        "{Then}, {his} {friend} came by and looked at the {food}.",
        "{His} {friend} sat next to {him}. {Pal} was hungry too.",
    ),
    (
        '"Can I have some of your {food}?" asked {pal}.',
        '"I forgot my lunch," said {pal}, and {phe} looked {sad}.',
        '"I am so hungry," {pal} said.',
    ),
    (
        '"No, it is mine!" said {hero}. {Pal} was {sad} and looked away.',
        "At first, {hero} did not want to share.",
        "{Hero} held the {food} tight. There was not much of it.",
        "{Hero} thought about it. {He} looked at the {food}, and {he} looked at {pal}.",
    ),
    (
        "But then {hero} felt bad. {He} did not like to see {pal} so sad.",
        '{His} {mom} saw it and {said}, "Sharing makes food taste better, {hero}."',
        "But {hero} remembered how {pal} had always been kind to {him}.",
    ),
    (
        '"Here, {pal}, have half of my {food}," said {hero}.',
        'So {hero} cut the {food} in two. "One half is for you, {pal}," {he} said.',
        '"Come, {pal}, let us share the {food}," {hero} said.',
    ),
    (
        '"Thank you, {hero}!" said {pal}.',
        '{Pal} {smiled}. "You are so kind, {hero}," {phe} said.',
        "They ate the {food} together, and it tasted very good.",
    ),
    (
        "The next day, {pal} brought {a_food} and shared it with {hero}.",
        "{Hero} learned that it is good to share.",
        "{Hero} and {pal} sat {at} and were {glad}.",
        "From then on, {hero} and {pal} always shared their food.",
    ),
)
NEW_FRIEND = (
    (
        "But {hero} had no one to play with.",
        "{Hero} was new {at} and did not know anyone.",
        "{Hero} often went to the {place} all alone.",
    ),
    (
        "{One_day}, {he} saw {a_pal_kind} {at} with {a_colour} {thing}.",
        "{One_day}, {a_pal_kind} came by with {a_colour} {thing}.",
        "{At}, {he} saw {a_pal_kind} who played alone with {a_colour} {thing}.",
    ),
    (
        "{Hero} wanted to say hello, but {he} was too shy.",
        "{Hero} wanted to play too, but {he} did not know what to say.",
        "{Hero} hid behind {his} {mom}.",
    ),
    (
        '"Go and say hello," said {his} {mom}.',
        '{His} {mom} {said}, "A friend begins with a hello, {hero}."',
        "{Hero} took a deep breath and walked over.",
    ),
    (
        '"Hello, I am {hero}," {he} said. "What is your name?" "My name is {pal}."',
        '"Hi! My name is {hero}," {he} said. "I am {pal}," said the {pal_kind}.',
        'The {pal_kind} smiled and said, "I am {pal}. Who are you?" "I am {hero}."',
    ),
    (
        '"Do you want to play with my {thing}?" asked {pal}.',
        '"I like your {colour} {thing}," said {hero}. "You can play with it," said {pal}.',
        '"Can I play with you?" asked {hero}. "Yes! Take my {thing}," said {pal}.',
    ),
    (
        "So {hero} and {pal} played with the {colour} {thing}.",
        "They played and laughed {at} all day.",
        "They took turns with the {thing}, and both had a lot of fun.",
    ),
    (
        'When it was time to go home, {pal} asked, "Will you come back?" "Yes!" said {hero}.',
        '"You are my friend now," {pal} said.',
        "{Evening}, {hero} told {his} {mom} about {pal}.",
    ),
    (
        "From that day on, {hero} and {pal} met {at} every day.",
        "{Hero} was not alone any more.",
        "{Hero} was {glad}. {He} had found a friend.",
        "And {hero} and {pal} are friends to this day.",
    ),
)
NEIGHBOUR = (
    (
        "Next door lived an old {woman} named {neighbour}.",
        "{One_day}, {hero} saw {his} old neighbor, {neighbour}, {in_front}.",
        "Near {hero} lived {neighbour}, a very old {woman}.",
    ),
    (
        "{One_day}, {neighbour} wanted to {chore}, but {nhe} was too tired.",
        "{Neighbour} had to {chore}, and it was hard for {nhim}.",
        '"Oh dear," said {neighbour}. "I have to {chore}, but my back hurts."',
    ),
    (
        '"Can I help you, {neighbour}?" asked {hero}.',
        '"I will help you," said {hero}.',
        '{Hero} {ran} over. "Let me do that for you," {he} said.',
        "{Hero} wanted to play, but {he} stopped and went to help.",
    ),
    (
        "So {hero} {did}. It was hard work.",
        "{Hero} {worked}. {He} {did} all alone.",
        "It was not easy, but {hero} {did}.",
        "{His} {friend} came to help too. Together, they {did}.",
    ),
    (
        "{Hero} was tired, but {he} did not stop.",
        "{Neighbour} sat on a chair and told {him} a funny story.",
        "The sun was hot, and {his} arms were tired.",
        "",
    ),
    (
        '{Soon}, all was done. "Thank you, {hero}," said {neighbour}.',
        '"You are such a good {kind}, {hero}," {neighbour} said.',
        '{Neighbour} {smiled}. "What would I do without you, {hero}?" {nhe} said.',
    ),
    (
        "{Neighbour} gave {him} {a_food}.",
        "Then {neighbour} went into the house and came back with {a_food}.",
        '"This {food} is for you," said {neighbour}.',
    ),
    (
        "{Hero} took the {food} home and shared it with {his} {mom}.",
        '"Thank you, {neighbour}!" said {hero}, and {he} ate the {food}.',
        '{His} {mom} heard about it. "I am proud of you, {hero}," {ahe} said.',
    ),
    (
        "After that, {hero} went to see {neighbour} every week.",
        "It feels good to help others.",
        "{Hero} was {glad} that {he} had helped {neighbour}.",
        "From then on, {hero} and {neighbour} were good friends.",
    ),
)
QUARREL = (
    (
        "{Hero} and {his} {friend} played {at} {one_day}.",
        "{One_day}, {hero} met {his} {friend} {at}.",
        "{His} {friend} came to play {at} {one_day}.",
    ),
    (
        "{Pal} had {a_colour} {thing}, and {hero} wanted it.",
        "They found {a_colour} {thing}, and both wanted to have it.",
        "There was only one {thing}. It was {colour}, and both wanted it.",
    ),
    (
        '"Give me the {thing}!" said {hero}. "No, I had it first!" said {pal}.',
        '"It is mine!" {cried} {hero}. "No, it is mine!" {cried} {pal}.',
        "{Hero} pulled, and {pal} pulled too.",
    ),
    (
        "Then the {colour} {thing} fell on the ground.",
        "{Hero} took the {thing}, and {pal} began to cry.",
        "{Pal} was angry and went home without a word.",
    ),
    (
        "{Hero} sat down alone. It was no fun to play without {pal}.",
        "Now {hero} was {sad}. {He} missed {his} {friend}.",
        'At home, {he} told {his} {mom}. "What can you say to {pal}?" asked {his} {mom}.',
    ),
    (
        'So {hero} went to {pal}. "I am sorry," {he} said.',
        '{Hero} {ran} to {pal}. "I am sorry, {pal}," said {hero}.',
        '"I am sorry I was not nice," {hero} said to {pal}.',
    ),
    (
        '"I am sorry too," said {pal}. "Let us play together."',
        '{Pal} smiled. "Let us take turns with the {thing}," {phe} said.',
        '"You can have the {thing} first," said {pal}.',
    ),
    (
        "They took turns with the {colour} {thing}, and it was much more fun.",
        "{Hero} and {pal} played with the {colour} {thing} until dark.",
        "{Hero} and {pal} hugged, and all was well again.",
    ),
    (
        "A friend is worth more than {a_thing}.",
        "From then on, {hero} and {pal} took turns.",
        "{Hero} learned that it is good to say sorry.",
        "And {hero} and {pal} were best friends again.",
    ),
)
_FRONT = ({"in_front": "in front of the house"}, {"in_front": "by the gate"}, {"in_front": "on the steps"})

KINDNESS_PLOTS = (
    Plot({"food": FOODS, "where": GREEN_PLACES}, SHARING),
    Plot({"thing": TOYS, "where": MEETING_PLACES}, NEW_FRIEND),
    Plot({"food": FOODS, "chore": CHORES, "front": _FRONT}, NEIGHBOUR, animals=False),
    Plot({"thing": TOYS, "where": GREEN_PLACES}, QUARREL),
)
