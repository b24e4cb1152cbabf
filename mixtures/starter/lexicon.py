"""The words that the generated texts are about; few of each, so that a small model meets each of them often."""


def words(text: str) -> tuple[str, ...]:
    """The words of a text, parted by blanks."""
    return tuple(text.split())


PEOPLE = words(
    """
    Anna Ben Carl Clara David Emma Frank Grace Henry Jack Julia Laura Leo Lucy Maria Martin Nina
    Oscar Paul Peter Rosa Sam Sarah Tom
    """
)
ANIMALS = words(
    """
    goat cow fox dog cat horse sheep pig hen duck goose rabbit mouse bear wolf lion tiger monkey
    camel donkey parrot turtle frog zebra
    """
)
FOODS = words(
    """
    bread cheese rice soup honey cake corn ham jam butter pasta salad toast pie pizza pudding sugar
    chocolate beans nuts grapes carrots noodles cookies
    """
)
VEHICLES = words(
    """
    bus train tram boat ship truck van taxi bike car plane canoe sled wagon ferry cart scooter
    tractor
    """
)
COLOURS = words("red blue green yellow black white brown pink grey purple gold silver")
THINGS = words(
    """
    lamp chair table clock spoon mirror candle pillow basket bottle hammer ladder pencil ribbon
    blanket button
    """
)

KINDS = {"person": PEOPLE, "animal": ANIMALS, "food": FOODS, "vehicle": VEHICLES, "colour": COLOURS}

_OPPOSITES = tuple(
    pair.split("/")
    for pair in words(
        """
        big/small old/new hot/cold good/bad clean/dirty heavy/light wet/dry fast/slow hard/soft strong/weak
        loud/quiet thick/thin long/short rich/poor dark/bright happy/sad full/empty sweet/sour
        """
    )
)
OPPOSITE_OF = {one: other for pair in _OPPOSITES for one, other in (pair, reversed(pair))}

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
