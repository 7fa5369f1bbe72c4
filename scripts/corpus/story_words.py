"""The words of the stories: names, animals, places, things and where they hide, and words that mean about the same.

The order matters: earlier entries are chosen more often (see `stories.pick`).
"""

GIRLS = tuple(
    """Lily Mia Anna Emma Sara Lucy Ella Amy Zoe Rosie Nina Ruby Daisy Molly Eva Jane Kate Maya Alice Clara Ivy Nora
    Sophie Grace Ada Holly Tina Lena Bella Julia Hannah Poppy Mary Wendy Olive""".split()
)
BOYS = tuple(
    """Tom Ben Max Sam Tim Jack Leo Finn Noah Adam Luke Oscar Jim Billy Toby Dan Henry Alex Peter Owen Eric Hugo Nick
    Paul Ryan Theo Carl Danny Felix Harry Jake Kevin Mark Ned Will""".split()
)
ANIMALS = "rabbit bear fox mouse cat squirrel hedgehog dog bunny raccoon lamb pony monkey beaver badger".split()

ADULTS = ({"mom": "mom", "ma": "Mom", "ahe": "she", "ahim": "her", "ahis": "her"},
          {"mom": "dad", "ma": "Dad", "ahe": "he", "ahim": "him", "ahis": "his"},
          {"mom": "grandma", "ma": "Grandma", "ahe": "she", "ahim": "her", "ahis": "her"},
          {"mom": "grandpa", "ma": "Grandpa", "ahe": "he", "ahim": "him", "ahis": "his"})  # fmt: skip
NEIGHBOURS = ({"neighbour": "Mrs. Green", "woman": "woman", "nhe": "she", "nhim": "her", "nhis": "her"},
              {"neighbour": "Mr. Brown", "woman": "man", "nhe": "he", "nhim": "him", "nhis": "his"},
              {"neighbour": "Mrs. Hill", "woman": "woman", "nhe": "she", "nhim": "her", "nhis": "her"},
              {"neighbour": "Mr. Stone", "woman": "man", "nhe": "he", "nhim": "him", "nhis": "his"},
              {"neighbour": "Mrs. Rose", "woman": "woman", "nhe": "she", "nhim": "her", "nhis": "her"},
              {"neighbour": "Mr. Wood", "woman": "man", "nhe": "he", "nhim": "him", "nhis": "his"})  # fmt: skip

COLOURS = tuple("red blue green yellow pink orange purple white brown black gray silver golden".split())
TRAITS = tuple("kind curious happy brave clever shy cheerful gentle quiet friendly busy polite".split())
HOMES = ("in a small house", "in a house by the lake", "in a little village", "in a white house", "near the forest",
         "on a green hill", "by the sea", "at the edge of a town", "in a cozy cottage", "next to a river",
         "on a quiet street", "on top of a green hill")  # fmt: skip
HOBBIES = ("play outside", "sing", "draw", "run and jump", "read books", "dance", "help others", "tell stories",
           "look at the clouds", "paint", "pick flowers", "laugh", "make new things",
           "listen to the birds")  # fmt: skip

# Where one walks, plays and picnics; grass and trees are there.
GREEN_PLACES = tuple(
    {"place": place, "at": f"{preposition} the {place}"}
    for preposition, places in {
        "in": "park, garden, forest, meadow, field, yard, woods, orchard, school garden, town garden, valley, big park",
        "on": "hilltop, farm, playground, river bank, hillside",
        "by": "lake, river, pond, old mill, little bridge, stream, old castle, duck pond",
        "at": "camp, picnic place",
    }.items()
    for place in places.split(", ")
)
# Where one meets others.
MEETING_PLACES = (
    *GREEN_PLACES,
    *(
        {"place": place, "at": f"{preposition} the {place}"}
        for preposition, places in {
            "at": "beach, market, zoo, school, fair, bus stop, swimming pool, train station, museum",
            "in": "library, village square, toy shop, bakery, barn",
        }.items()
        for place in places.split(", ")
    ),
)
ROOM_SPOTS = ("under the bed", "behind the sofa", "under the table", "behind the door", "in the toy box",
              "under a pile of clothes", "behind the curtain", "on the top shelf", "in the closet", "under the stairs",
              "in a big basket", "behind the bookshelf", "under a blanket", "in the hall")  # fmt: skip
SMALL_SPOTS = ("under the bed", "under the rug", "in an old shoe", "under a pillow", "behind the clock",
               "between two books", "in the pocket of a coat", "at the bottom of a bag", "under the chair",
               "in a cup", "in a sock", "under the flower pot", "behind the door")  # fmt: skip
GRASS_SPOTS = ("under a bush", "in the tall grass", "behind a big tree", "next to a rock", "under a pile of leaves",
               "behind a log", "under the bench", "in the flowers", "near the fence", "in the mud")  # fmt: skip
HIGH_SPOTS = ("in a tall tree", "on a high branch", "on the roof", "on top of a wall", "in the old oak tree",
              "on a lamp post", "in an apple tree")  # fmt: skip

TOYS = tuple(
    """ball, doll, teddy bear, toy car, drum, truck, toy train, book, puppet, toy boat, robot, toy horse, bucket,
    toy plane, puzzle, music box, toy rabbit, lantern, flute, yo-yo, picture book, toy bus, rope, hat, backpack,
    cap, boot, lunch box, umbrella, watering can""".replace("\n    ", " ").split(", ")
)
TREASURES = tuple(
    """ring, key, coin, button, shell, marble, bead, spoon, whistle, pencil, bell, feather, paper star, necklace, medal,
    stone, bracelet, ribbon, brush, watch, stamp, pin""".replace("\n    ", " ").split(", ")
)
FLYERS = ("kite", "balloon", "paper plane", "hat", "scarf", "toy glider", "paper bird", "flag")
FOODS = ("apple", "cookie", "cake", "sandwich", "orange", "pear", "muffin", "peach", "pie", "banana", "bun", "pancake",
         "donut", "plum", "bag of nuts", "box of berries", "ice cream", "slice of bread", "carrot", "egg")  # fmt: skip
BUILDINGS = tuple(
    {"building": building, "brick": brick}
    for building, brick in {
        "tower": "block", "castle": "block", "bridge": "stick", "fort": "box", "wall": "stone", "house": "block",
        "tree house": "board", "tent": "stick", "raft": "log", "birdhouse": "board", "snowman": "snowball",
        "dam": "stick", "hut": "branch",
    }.items()
)  # fmt: skip
PLANTS = tuple(
    {"seed": seed, "plant": plant}
    for seed, plant in {
        "sunflower seed": "sunflower", "bean": "bean plant", "tomato seed": "tomato plant", "apple seed": "apple tree",
        "pumpkin seed": "pumpkin plant", "rose seed": "rose", "acorn": "oak tree", "daisy seed": "daisy",
        "cherry stone": "cherry tree", "tulip bulb": "tulip",
    }.items()
)  # fmt: skip
SKILLS = tuple(
    {"skill": skill, "part": part, "teach": where}
    for skill, part, where in (
        ("swim", "swimming", "in the pool"), ("ride a bike", "riding", "on the street"),
        ("skate", "skating", "on the ice"), ("climb a tree", "climbing", "in the garden"),
        ("jump rope", "jumping", "in the yard"), ("whistle", "whistling", "on the porch"),
        ("tie a knot", "tying", "at the table"), ("draw a horse", "drawing", "at the desk"),
        ("play the drum", "playing", "in the barn"), ("bake bread", "baking", "in the kitchen"),
        ("dance", "dancing", "in the hall"), ("catch a ball", "catching", "in the park"),
        ("fly a kite", "flying it", "on the hill"), ("row a boat", "rowing", "on the lake"),
    )
)  # fmt: skip
FEARS = tuple(
    {"fear": fear, "scary": scary, "truth": truth}
    for fear, scary, truth in (
        ("the dark", "saw a strange shape in the dark", "only a coat on a chair"),
        ("storms", "heard a loud bang in the storm", "only a window that was open"),
        ("the cellar", "saw two bright eyes in the cellar", "only a little cat"),
        ("big dogs", "saw a big dog at the gate", "a gentle dog that wanted to play"),
        ("the old barn", "heard a strange sound in the old barn", "only a hungry kitten"),
        ("the forest", "heard a noise in the forest", "only a little bird in the leaves"),
        ("the attic", "heard a scratching sound in the attic", "only a small mouse"),
        ("ghosts", "saw something white in the garden", "only a shirt in the wind"),
        ("deep water", "saw a dark shadow in the water", "only a friendly fish"),
        ("thunder", "heard a big rumble outside", "only a cart full of barrels"),
    )
)
BABIES = tuple(
    {"baby": baby, "trouble": trouble, "home2": home}
    for baby, trouble, home in (
        ("bird", "had fallen from its nest", "back to its nest"), ("duckling", "had lost its way", "back to the pond"),
        ("kitten", "was stuck in a bush", "back to its basket"), ("turtle", "lay on its back", "back to the water"),
        ("frog", "was stuck in a jar", "back to the pond"), ("squirrel", "was caught in a net", "back to its tree"),
        ("lamb", "had lost its way", "back to the farm"), ("owl", "had hurt its wing", "back to its tree"),
        ("puppy", "was stuck in the mud", "back to its owner"),
        ("hedgehog", "was stuck under a fence", "back to its leaves"),
    )
)  # fmt: skip
CHORES = tuple(
    {"chore": chore, "did": did}
    for chore, did in (
        ("carry a heavy bag", "carried the heavy bag"),
        ("rake the leaves", "raked the leaves"),
        ("water the flowers", "watered the flowers"),
        ("paint the fence", "painted the fence"),
        ("pick the apples", "picked the apples"),
        ("feed the hens", "fed the hens"),
        ("sweep the steps", "swept the steps"),
        ("wash the windows", "washed the windows"),
        ("bring in the wood", "brought in the wood"),
        ("find a lost cat", "found the lost cat"),
        ("dig the garden", "dug the garden"),
        ("clean the shed", "cleaned the shed"),
    )
)
WISHES = tuple(
    {"wish": wish, "came": came}
    for wish, came in (
        ("a pet", "a small puppy"),
        ("snow", "white snow everywhere"),
        ("a song", "a bird with a lovely song"),
        ("a garden", "a bag of seeds"),
        ("a big adventure", "a map"),
        ("a bike", "a shiny bike"),
        ("a boat", "a little boat"),
        ("a good story", "a thick book"),
    )
)
MENDERS = ("glue", "tape", "a needle and thread", "a small hammer", "some string", "a new screw", "a bit of wire")

SYNONYMS = {
    "glad": ("happy", "very happy", "so happy", "glad", "full of joy"),
    "sad": ("sad", "very sad", "upset"),
    "size": ("little", "small", "young"),
    "big": ("big", "large", "huge", "very big"),
    "pretty": ("pretty", "shiny", "lovely", "nice", "beautiful", "new"),
    "smiled": ("smiled", "laughed", "smiled a big smile", "clapped", "grinned", "jumped for joy"),
    "ran": ("ran", "hurried", "rushed", "raced"),
    "said": ("said", "said softly", "said with a smile"),
    "cried": ("cried", "shouted", "called", "called out"),
    "soon": ("soon", "after a while", "a little later", "in the end", "before long"),
    "then": ("then", "just then", "suddenly", "at that moment"),
    "sunny": ("sunny", "bright", "warm", "lovely", "beautiful", "fine"),
    "morning": ("morning", "day", "afternoon"),
    "hugged": ("hugged", "gave a big hug to", "thanked", "smiled at"),
    "worked": ("worked hard", "worked all day", "worked and worked", "did not stop"),
    "one_day": ("one day", "one morning", "one sunny day", "one afternoon", "one fine day"),
    "evening": ("that evening", "that night", "at the end of the day", "when the sun went down"),
}
