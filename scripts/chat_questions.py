"""Questions of sixteen kinds for a chat model. The last of each kind is held out: no training text answers it."""

KINDS = {
    "How do I {}?": "change a bicycle tire; remove a coffee stain; build a bird house; back up my computer; tie a tie; "
    "open a bank account; grow tomatoes; clean an oven; pack for a long trip; train a puppy; fix a leaking tap; "
    "read a map; stop a nosebleed; renew a passport; paint a wall; make new friends; knit a scarf",
    "What is {}?": "photosynthesis; inflation; a black hole; the water cycle; democracy; an atom; DNA; gravity; "
    "the stock market; a volcano; machine learning; the immune system; a prime number; climate change; jazz; "
    "a supply chain; electricity",
    "Write a short story about {}.": "a lost dog; a robot who wants to paint; two brothers at sea; a talking tree; "
    "a girl who finds a key; an old clockmaker; a dragon afraid of fire; a storm in the mountains; a letter from the "
    "past; a cat in a library; a train that never stops; a farmer and a fox; the last day of summer; a secret garden; "
    "a boy who could not sleep; a ship in a bottle; a lighthouse keeper",
    "Explain {} to a child.": "why the sky is blue; how airplanes fly; what money is; why we sleep; how rain is made; "
    "why leaves fall; what a computer does; how magnets work; why we have seasons; what the heart does; how bees make "
    "honey; why ice floats; what a law is; how plants drink; why the moon changes; how a fridge works; what germs are",
    "Give me ten tips for {}.": "a healthy diet; saving money; studying for an exam; a job interview; better sleep; "
    "growing herbs; public speaking; learning English; travelling alone; a tidy house; running a marathon; "
    "taking photos; working from home; writing an essay; a small garden; teaching children; camping in winter",
    "Write a Python function that {}.": "reverses a string; sorts a list; checks whether a number is prime; counts "
    "the words of a text; finds the largest number; computes a factorial; reads a file; removes duplicates; merges two "
    "dictionaries; converts Celsius to Fahrenheit; finds common elements; checks a password; draws a random card; "
    "computes the mean; validates an email address; prints a multiplication table; counts vowels",
    "What are the advantages and disadvantages of {}?": "electric cars; social media; living in a big city; nuclear "
    "power; working from home; online learning; solar panels; public transport; owning a pet; renting a house; "
    "fast food; credit cards; video games; school uniforms; air travel; part-time work; homework",
    "Write an email to {}.": "a colleague about a meeting; my landlord about the heating; a teacher to say thank you; "
    "a customer about a late delivery; my boss to ask for a day off; a friend to invite her to dinner; a hotel about a "
    "booking; a company to apply for a job; my team about a new plan; a doctor to change an appointment; a neighbour "
    "about noise; a shop about a broken phone; a bank about a wrong fee; a professor about a deadline; a library about "
    "a lost book; my parents about my holidays; a newspaper about a mistake",
    "Describe {}.": "a busy market; the life of a bee; a perfect day at the beach; the human eye; a forest in autumn; "
    "the city of London; an elephant; a traditional wedding; the planet Mars; a medieval castle; the taste of "
    "chocolate; a modern kitchen; the Amazon river; a football match; the work of a nurse; a snowstorm; a penguin",
    "Compare {}.": "cats and dogs; tea and coffee; books and films; trains and planes; Python and Java; the Earth and "
    "Mars; summer and winter; rice and potatoes; gold and silver; a lake and a river; cash and cards; football and "
    "tennis; frogs and toads; cities and villages; plants and animals; bread and pasta; wool and cotton",
    "Who was {}?": "Albert Einstein; Marie Curie; Leonardo da Vinci; Cleopatra; Isaac Newton; Nelson Mandela; "
    "William Shakespeare; Ada Lovelace; Mozart; Charles Darwin; Julius Caesar; Florence Nightingale; Galileo; "
    "Abraham Lincoln; Vincent van Gogh; Mahatma Gandhi; Alan Turing",
    "Write a poem about {}.": "the sea; my grandmother; the first snow; a lonely star; spring; friendship; the night; "
    "a small bird; courage; an old house; rain; the mountains; time; music; a rose; home; the wind",
    "Plan {}.": "a birthday party; a weekend in Paris; a week of healthy meals; a school trip to a museum; a small "
    "vegetable garden; a workout for beginners; a reading club; a picnic for ten people; a day without a phone; "
    "a move to another city; a charity run; a lesson about planets; a family budget; a hike in the hills; a garage "
    "sale; a surprise dinner; a science fair",
    "Summarize the history of {}.": "the Roman Empire; the bicycle; chocolate; the Internet; Japan; the Olympic Games; "
    "paper; flight; medicine; the telephone; Egypt; chess; the railway; photography; coffee; printing; money",
    "{} What should I do?": "I cannot sleep at night.; My laptop is very slow.; I feel nervous before exams.; My plant "
    "has yellow leaves.; I argue with my brother every day.; I lost my wallet.; I want to change my job.; My back "
    "hurts.; I spend too much money.; My dog eats grass.; I forget names.; My neighbours are loud.; I have no time to "
    "read.; My car will not start.; I am new in town.; I drink too much coffee.; I have a cold.",
    "List {}.": "five kinds of clouds; the planets of the solar system; ten countries of Africa; healthy breakfasts; "
    "famous painters; musical instruments; things to see in Rome; tools for a workshop; good habits; animals of the "
    "desert; ways to save water; kinds of pasta; outdoor games; jobs in a hospital; materials for a bridge; famous "
    "inventions; parts of a flower",
}
_BY_KIND = [[form.format(subject.strip()) for subject in subjects.split(";")] for form, subjects in KINDS.items()]
QUESTIONS = [question for kind in _BY_KIND for question in kind[:-1]]
HELD_OUT = [kind[-1] for kind in _BY_KIND]
