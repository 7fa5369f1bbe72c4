"""What is known: each line `subject: answer`. Only facts with one answer that nobody disputes."""


def _table(text: str) -> dict[str, str]:
    pairs = (entry.split(":") for line in text.strip().splitlines() for entry in line.split(","))
    return {subject.strip(): answer.strip() for subject, answer in pairs}


CAPITALS = _table("""
France: Paris, Germany: Berlin, Italy: Rome, Spain: Madrid, Portugal: Lisbon, England: London, Ireland: Dublin
Scotland: Edinburgh, Wales: Cardiff, Belgium: Brussels, Austria: Vienna, Switzerland: Bern, Poland: Warsaw
Denmark: Copenhagen, Norway: Oslo, Sweden: Stockholm, Finland: Helsinki, Iceland: Reykjavik, Estonia: Tallinn
Latvia: Riga, Lithuania: Vilnius, Ukraine: Kyiv, Russia: Moscow, Belarus: Minsk, Hungary: Budapest
Romania: Bucharest, Bulgaria: Sofia, Greece: Athens, Turkey: Ankara, Cyprus: Nicosia, Malta: Valletta
Serbia: Belgrade, Croatia: Zagreb, Slovenia: Ljubljana, Slovakia: Bratislava, Albania: Tirana, Bosnia: Sarajevo
Moldova: Chisinau, Armenia: Yerevan, Georgia: Tbilisi, Azerbaijan: Baku, Iran: Tehran, Iraq: Baghdad
Syria: Damascus, Lebanon: Beirut, Jordan: Amman, Saudi Arabia: Riyadh, Qatar: Doha, Oman: Muscat, Yemen: Sanaa
Afghanistan: Kabul, Pakistan: Islamabad, India: New Delhi, Nepal: Kathmandu, Bhutan: Thimphu, Bangladesh: Dhaka
China: Beijing, Japan: Tokyo, Mongolia: Ulaanbaatar, South Korea: Seoul, North Korea: Pyongyang, Thailand: Bangkok
Vietnam: Hanoi, Laos: Vientiane, Cambodia: Phnom Penh, the Philippines: Manila, Uzbekistan: Tashkent
Kyrgyzstan: Bishkek, Tajikistan: Dushanbe, Turkmenistan: Ashgabat, Australia: Canberra, New Zealand: Wellington
Fiji: Suva, Egypt: Cairo, Libya: Tripoli, Tunisia: Tunis, Algeria: Algiers, Morocco: Rabat, Sudan: Khartoum
Ethiopia: Addis Ababa, Kenya: Nairobi, Uganda: Kampala, Rwanda: Kigali, Somalia: Mogadishu, Ghana: Accra
Nigeria: Abuja, Senegal: Dakar, Mali: Bamako, Niger: Niamey, Chad: Ndjamena, Cameroon: Yaounde, Angola: Luanda
Zambia: Lusaka, Zimbabwe: Harare, Namibia: Windhoek, Botswana: Gaborone, Mozambique: Maputo
Madagascar: Antananarivo, Canada: Ottawa, the United States: Washington, Mexico: Mexico City, Cuba: Havana
Jamaica: Kingston, Haiti: Port-au-Prince, Honduras: Tegucigalpa, Nicaragua: Managua, Costa Rica: San Jose
Colombia: Bogota, Venezuela: Caracas, Ecuador: Quito, Peru: Lima, Brazil: Brasilia, Paraguay: Asuncion
Uruguay: Montevideo, Argentina: Buenos Aires, Chile: Santiago
""")

COLOURS = _table("""
the sky: blue, the sea: blue, grass: green, a leaf: green, a frog: green, a pea: green, a cucumber: green
broccoli: green, snow: white, milk: white, salt: white, a swan: white, a polar bear: white, a cloud: white
blood: red, a tomato: red, a strawberry: red, a cherry: red, a fire truck: red, a ladybug: red, coal: black
a crow: black, the night: black, a tire: black, the sun: yellow, a lemon: yellow, a banana: yellow, butter: yellow
a baby chick: yellow, corn: yellow, a carrot: orange, a pumpkin: orange, a goldfish: orange, chocolate: brown
mud: brown, wood: brown, a bear: brown, a potato: brown, an elephant: gray, a mouse: gray, a dolphin: gray
a pig: pink, a flamingo: pink, a plum: purple, an eggplant: purple
""")

OPPOSITE_PAIRS = _table("""
hot: cold, big: small, up: down, in: out, on: off, day: night, black: white, happy: sad, fast: slow, good: bad
old: young, long: short, wet: dry, high: low, open: closed, full: empty, hard: soft, heavy: light, loud: quiet
early: late, left: right, near: far, rich: poor, strong: weak, thick: thin, wide: narrow, clean: dirty
first: last, front: back, true: false, yes: no, push: pull, win: lose, buy: sell, give: take, come: go
begin: end, laugh: cry, love: hate, above: below, inside: outside, before: after, always: never, sweet: sour
easy: difficult, same: different, asleep: awake, king: queen, boy: girl, brother: sister, deep: shallow
smooth: rough, summer: winter, top: bottom, question: answer, north: south, east: west
""")

SOUNDS = _table("""
dog: woof, cat: meow, cow: moo, duck: quack, pig: oink, sheep: baa, horse: neigh, rooster: cock-a-doodle-doo
hen: cluck, frog: ribbit, bee: buzz, snake: hiss, lion: roar, owl: hoot, mouse: squeak, wolf: howl, crow: caw
chick: cheep, donkey: hee-haw, goose: honk, turkey: gobble, pigeon: coo, bird: tweet, bear: growl, cricket: chirp
""")

DAYS = tuple("Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split())
MONTHS = tuple("January February March April May June July August September October November December".split())
