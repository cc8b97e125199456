"""Word lists against which the items of a list task are checked."""

from __future__ import annotations

__all__ = ["HELD_OUT_CATEGORIES", "MEMBERS", "TRAIN_CATEGORIES"]

_LISTS = {
    "animals":
    "alligator ant antelope ape badger bat bear beaver bee beetle bird bison boar buffalo bull butterfly camel "
    "cat cheetah chicken chimpanzee cow coyote crab crocodile crow deer dog dolphin donkey dove duck eagle eel "
    "elephant elk emu falcon ferret fish flamingo fox frog gazelle giraffe goat goose gorilla hamster hare hawk "
    "hedgehog heron hippo hippopotamus horse hyena jackal jaguar jellyfish kangaroo koala lamb leopard lion "
    "lizard llama lobster lynx mole monkey moose mouse octopus opossum orangutan ostrich otter owl ox panda "
    "panther parrot peacock pelican penguin pig pigeon puma rabbit raccoon ram rat raven reindeer rhino "
    "rhinoceros salmon seal shark sheep skunk sloth snail snake spider squirrel swan tiger toad tortoise turkey "
    "turtle walrus wasp weasel whale wolf wombat worm zebra",
    "fruits":
    "apple apricot avocado banana blackberry blueberry cantaloupe cherry clementine coconut cranberry currant "
    "date dragonfruit durian fig gooseberry grape grapefruit guava kiwi kumquat lemon lime lychee mandarin mango "
    "melon mulberry nectarine orange papaya passionfruit peach pear persimmon pineapple plum pomegranate quince "
    "raisin raspberry strawberry tangerine watermelon",
    "colours":
    "amber aqua aquamarine azure beige black blue bronze brown burgundy charcoal copper coral cream crimson cyan "
    "emerald fuchsia gold gray green grey indigo ivory khaki lavender lilac lime magenta maroon mauve mint navy "
    "ochre olive orange peach pink plum purple red rose ruby rust salmon scarlet silver tan teal turquoise "
    "vermilion violet white yellow",
    "countries":
    "afghanistan albania algeria argentina armenia australia austria bangladesh belgium bolivia brazil bulgaria "
    "cambodia cameroon canada chad chile china colombia croatia cuba cyprus denmark ecuador egypt england estonia "
    "ethiopia finland france germany ghana greece guatemala haiti hungary iceland india indonesia iran iraq "
    "ireland israel italy jamaica japan jordan kenya korea laos latvia lebanon libya lithuania luxembourg "
    "madagascar malaysia mali malta mexico mongolia morocco mozambique myanmar namibia nepal netherlands "
    "nicaragua niger nigeria norway oman pakistan panama paraguay peru philippines poland portugal qatar romania "
    "russia rwanda scotland senegal serbia singapore slovakia slovenia somalia spain sudan sweden switzerland "
    "syria taiwan tanzania thailand tunisia turkey uganda ukraine uruguay usa venezuela vietnam wales yemen "
    "zambia zimbabwe",
    "vegetables":
    "artichoke arugula asparagus aubergine avocado basil bean beet beetroot broccoli cabbage carrot cauliflower "
    "celery chard chickpea chili collard corn courgette cucumber eggplant endive fennel garlic ginger kale leek "
    "lentil lettuce mushroom mustard okra onion parsley parsnip pea pepper potato pumpkin radish rhubarb rutabaga "
    "scallion shallot spinach sprout squash tomato turnip watercress yam zucchini",
    "instruments":
    "accordion bagpipe banjo bass bassoon bell bongo bugle cello clarinet cornet cymbal didgeridoo drum drums "
    "dulcimer fiddle flute glockenspiel gong guitar harmonica harp harpsichord horn keyboard lute lyre mandolin "
    "maraca marimba oboe organ percussion piano piccolo recorder saxophone sitar synthesizer tambourine timpani "
    "triangle trombone trumpet tuba ukulele viola violin vocals xylophone",
}  # fmt: skip

MEMBERS = {name: frozenset(words.split()) for name, words in _LISTS.items()}
"""Category -> its members in lower case, singular."""

TRAIN_CATEGORIES = ("animals", "fruits", "colours", "countries")
HELD_OUT_CATEGORIES = ("vegetables", "instruments")
"""No category is on both sides."""
