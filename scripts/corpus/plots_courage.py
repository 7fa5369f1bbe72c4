"""Stories of fear, of learning and of a race."""

from corpus.plot import Plot
from corpus.story_words import BABIES, FEARS, GREEN_PLACES, SKILLS, WISHES

AFRAID = (
    (
        "But {hero} was afraid of {fear}.",
        "There was one thing {hero} did not like. {He} was afraid of {fear}.",
        "{Hero} was not afraid of many things, but {he} was afraid of {fear}.",
    ),
    (
        "{One_day}, {hero} and {his} {friend} {scary}.",
        "{One_day}, {hero} {scary}. {He} held the hand of {his} {friend}.",
        '{Evening}, {hero} {scary}. "What is that?" {he} whispered to {his} {friend}.',
    ),
    (
        "{Hero} wanted to run away. {His} legs shook.",
        "{Hero} hid behind {pal}.",
        '"I am scared," said {hero}.',
        "{His} heart went boom, boom, boom.",
    ),
    (
        '"Do not be afraid, {hero}," said {pal}. "I am with you."',
        '"Let us go and look together," said {pal}.',
        '{Pal} {said}, "Being brave means trying when you are scared."',
        '{Pal} took {his} hand. "We can be brave together," {phe} said.',
    ),
    (
        "{Hero} took a deep breath and went closer.",
        "Step by step, {hero} went closer.",
        '"I can do this," said {hero}, and {he} went first.',
        "{Hero} counted to three and opened {his} eyes wide.",
    ),
    (
        "It was {truth}!",
        "And what was it? It was {truth}!",
        "{Then} {he} saw what it was. It was {truth}.",
    ),
    (
        "{Hero} and {pal} laughed and laughed.",
        '"That is all?" said {hero}, and {he} began to laugh.',
        "{Hero} {smiled}. {He} was not scared any more.",
        '"You were so brave, {hero}!" said {pal}.',
    ),
    (
        "From that day on, {hero} was not afraid of {fear}.",
        "{Evening}, {hero} told {his} {mom} about it. {His} {mom} was proud of {him}.",
        "Now {hero} knew that {fear} could not hurt {him}.",
        "And when {pal} was scared, {hero} was there to help.",
    ),
)
LEARNING = (
    (
        "{Hero} wanted to learn to {skill}.",
        "More than anything, {hero} wanted to {skill}.",
        '{One_day}, {hero} saw {his} {friend} {skill}. "I want to do that too," {he} said.',
        "All {his} friends could {skill}, but {hero} could not.",
    ),
    (
        'So {his} {mom} said, "I will teach you {teach}."',
        "{One_day}, {he} asked {his} {mom} to help {him} {teach}.",
        '"Can you teach me, {ma}?" {he} asked. "Yes, let us start {teach}," said {his} {mom}.',
    ),
    (
        "At first, it was very hard. {Hero} tried, but it did not work.",
        "{Hero} tried once, and it went wrong. {He} tried again, and it went wrong again.",
        "It looked so easy, but it was not.",
    ),
    (
        '"I cannot do it!" {cried} {hero}. {He} was {sad}.',
        "{Hero} was {sad} and wanted to stop.",
        '"I will never learn to {skill}," {hero} said.',
    ),
    (
        '"Do not give up," said {his} {mom}. "Everyone needs time to learn."',
        '{His} {friend} called, "You can do it, {hero}!"',
        '{His} {mom} {said}, "Try a little every day, {hero}."',
        '"I fell many times too," said {his} {mom}. "Try once more."',
    ),
    (
        "So {hero} tried again, day after day.",
        "{Hero} dried {his} eyes and kept {part}.",
        "{Hero} tried again, very slowly this time.",
        "Every day, {hero} got a little better.",
    ),
    (
        "{One_day}, it worked! {Hero} could {skill}!",
        "Then, one day, {he} did it! {Hero} could {skill} all alone!",
        '{Soon}, {hero} {cried}, "Look, {ma}! I can {skill}!"',
    ),
    (
        '{His} {mom} {smiled}. "I am so proud of you, {hero}," {ahe} said.',
        "{Hero} was {glad}, and {his} {mom} was proud.",
        "{Hero} {smiled} and {hugged} {his} {mom}.",
    ),
    (
        "{Hero} had learned that you must not give up.",
        "The next day, {hero} helped {his} {friend} to learn something new too.",
        "From then on, {part} was what {hero} liked best.",
        "{Evening}, {hero} dreamed of {part}.",
    ),
)
RACE = (
    (
        "{One_day}, there was a big race {at}. {Hero} and {his} {friend} wanted to run.",
        '{One_day}, {his} {friend} said, "Let us race to the {place}!"',
        "Every year, there was a race {at}. {Hero} and {his} {friend} both wanted to win.",
    ),
    (
        "{Pal} was very fast, and {hero} was slow.",
        '"I am the fastest of all," said {pal}.',
        "{Hero} had new {colour} shoes and felt fast.",
        "{Hero} and {pal} stood side by side.",
    ),
    (
        '"Ready, set, go!" called {his} {mom}. They {ran} down the road.',
        "They all began to run. {Hero} ran as fast as {he} could.",
        '"Go!" {cried} {neighbour}, and they ran like the wind.',
    ),
    (
        "{Pal} was in front, but then {phe} fell over a stone.",
        "{Then}, {pal} fell and hurt {phis} knee.",
        "Halfway, {pal} slipped in the mud and could not get up.",
    ),
    (
        "{Hero} could win now! But {he} stopped.",
        "{Hero} looked at the finish. Then {he} looked back at {pal}.",
        '"Ouch!" {cried} {pal}. {Hero} heard it and turned around.',
    ),
    (
        '"Take my hand," said {hero}, and {he} helped {pal} to get up.',
        '{Hero} ran back. "Are you hurt, {pal}?" {he} asked.',
        '"I will help you, {pal}," said {hero}.',
    ),
    (
        "Hand in hand, {hero} and {pal} went over the line together.",
        "They walked to the end together, step by step.",
        "Then they finished the race side by side.",
    ),
    (
        "Everyone clapped for {hero} and {pal}.",
        '"You could have won," said {pal}. "You are a real friend, {hero}."',
        "They did not win, but {hero} was {glad}.",
        '{Neighbour} gave {hero} {a_colour} ribbon. "This is for a kind heart," {nhe} said.',
    ),
    (
        "A friend is better than a prize.",
        "{Hero} and {pal} told everyone about the race {at}.",
        "After that, {hero} and {pal} always ran together.",
        "{Evening}, {hero} told {his} {mom} all about {pal} and the race.",
    ),
)
RESCUE = (
    (
        "{One_day}, {hero} heard a small sound {at}.",
        "{One_day}, {hero} went for a walk {at}. {Then}, {he} heard a sad little sound.",
        "{One_day}, {hero} and {his} {friend} played {at}. They heard something cry.",
    ),
    (
        "It was a little {baby}. It {trouble}.",
        "There was a little {baby}. The poor thing {trouble}.",
        "{Hero} looked down and saw a little {baby}. It {trouble}.",
    ),
    (
        '"Poor little {baby}!" said {hero}.',
        '"Do not be afraid, little {baby}," {hero} {said}. "I will help you."',
        "The {baby} looked at {hero} with big eyes.",
    ),
    (
        "But {hero} did not know what to do. {He} {ran} to {his} {mom}.",
        "{Hero} tried to help, but it was too hard for {him} alone. So {he} called {his} {mom}.",
        "{Hero} thought and thought. Then {he} went to get {his} {mom}.",
    ),
    (
        "{His} {mom} came with a soft {colour} blanket.",
        '"We must be very gentle," said {his} {mom}.',
        '"You did well to call me, {hero}," {his} {mom} said.',
    ),
    (
        "Together, they helped the {baby} and gave it some water.",
        "{Hero} held the {baby} in {his} hands, and it was calm.",
        "Slowly, {hero} and {his} {mom} helped the {baby}.",
    ),
    (
        "Then they took the {baby} {home2}.",
        "{Soon}, the {baby} felt better. They brought it {home2}.",
        "{Hero} carried the little {baby} {home2}.",
    ),
    (
        "The {baby} made a happy sound, as if to say thank you.",
        '"Goodbye, little {baby}," said {hero}.',
        "{Hero} was {glad} that the {baby} was safe.",
        '"You have a kind heart, {hero}," said {his} {mom}.',
    ),
    (
        "Every day after that, {hero} went to the {place} to see the {baby}.",
        "{Evening}, {hero} dreamed of the little {baby}.",
        "Even the smallest friend needs help at times.",
        "And the {baby} never forgot {hero}.",
    ),
)
WISH = (
    (
        "{Hero} wished for {wish}.",
        "More than anything, {hero} wanted {wish}.",
        "There was one thing {hero} wanted. It was {wish}.",
    ),
    (
        "{Evening}, {he} saw a star fall from the sky. {He} closed {his} eyes and made a wish.",
        "{One_day}, {he} found an old well {at}. {He} threw in a coin and made a wish.",
        '{One_day}, {his} {mom} said, "Blow on this flower {at} and make a wish, {hero}."',
    ),
    (
        '"I wish for {wish}," {he} whispered.',
        '"Please, please, give me {wish}," {hero} {said}.',
    ),
    (
        "{Hero} waited one day, and another day, but nothing happened.",
        "{He} looked out of the window, but there was nothing there.",
        "The next day, {he} ran outside. Nothing was there. {Hero} was {sad}.",
    ),
    (
        '"Be patient, {hero}," said {his} {mom}. "Good things take time."',
        '{His} {friend} {said}, "Do not be sad, {hero}. Let us play and wait."',
        "But {hero} did not stop hoping.",
    ),
    (
        "Then, one morning, there was {came}!",
        "A week later, {hero} opened the door, and there was {came}!",
        "And then, when {he} did not think of it, there was {came}!",
    ),
    (
        '"My wish came true!" {cried} {hero}.',
        "{Hero} {smiled}. {He} had wished for {wish}, and now it was here.",
        "{Hero} could not believe {his} eyes.",
    ),
    (
        "{He} ran to tell {his} {friend}, and they were {glad} together.",
        '"Thank you," {hero} {said} to the sky.',
        "{Hero} {hugged} {his} {mom}.",
    ),
    (
        "And {hero} kept it safe for a long, long time.",
        "Sometimes wishes come true if you wait.",
        "From then on, {hero} was {glad} every day.",
        "{Hero} never forgot the day of {his} wish.",
    ),
)

COURAGE_PLOTS = (
    Plot({"fear": FEARS}, AFRAID),
    Plot({"skill": SKILLS}, LEARNING, animals=False),
    Plot({"where": GREEN_PLACES}, RACE),
    Plot({"baby": BABIES, "where": GREEN_PLACES}, RESCUE, animals=False),
    Plot({"wish": WISHES, "where": GREEN_PLACES}, WISH),
)
