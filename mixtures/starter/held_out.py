"""What no training run of the starter suite may see: a quarter of every task's templates, and three whole tasks.

These lists were chosen and committed before the first training run on this suite and are not changed after it; a
score on them is worth something only because of that. The three tasks lie in different rows and columns of the grid
of `ordinals`: every ordinal and every kind still occurs in trained tasks, their combinations do not. Each held-out
template is made of words that occur in trained templates of the same task, since a model that starts from random
weights can know no others.

Words in braces are filled in by the cluster's file ({ordinal}, {kind}, {what}, ...) or from the row.
"""

TASKS = ("second_animal", "first_vehicle", "third_food")

# By the list of templates that they complete; tasks that share the templates of a cluster have the same ones held out.
TEMPLATES: dict[str, tuple[str, ...]] = {
    "ordinals": (
        "Find the {ordinal} {kind}: {passage}",
        "{passage} Tell me the {ordinal} {kind}.",
        "Which is the {ordinal} {kind} in this story? {passage}",
        "{passage} Question: which {kind} comes {ordinal}? Answer:",
    ),
    "listing": (
        "Find the three {kind}s: {passage}",
        "{passage} Name the {kind}s in order.",
        "Which {kind}s are there? {passage}",
        "Story: {passage} List all {kind}s in the story.",
    ),
    # Added on 2026-11-24 with the three tasks that it belongs to, after runs without them and before any with them.
    "rows": (
        "Find all that comes {ordinal}: {passage}",
        "{passage} List the {ordinal} one of every kind.",
        "Who and what comes {ordinal} in this story? {passage}",
        "Story: {passage} Name everything in the {ordinal} place.",
    ),
    "word_lists": (
        "Look at this list and find the {what}. {words}",
        "Words: {words}. Which one is the {what}?",
        "Pick out the {what} of the list. {words}",
        "Here is a list: {words}. What is the {what}?",
    ),
    "comparison": (
        "Which of the three is the {what}? {statement} {options}",
        "{statement} Tell me the {what} one. {options}",
        "Name the {what} of them. {statement} {options}",
        "Read this: {statement} Pick the {what} one.",
    ),
    "sentence_words": (
        "Tell me the {what} in this sentence. {sentence}",
        "{sentence} Find the {what}.",
        "Sentence: {sentence} What is the {what}?",
        "Write the {what} of this sentence: {sentence}",
    ),
    "sentence_kind": (
        "Sentence: {sentence} What kind of thing is named? {options}",
        "Give the kind of thing named in this sentence. {sentence} {options}",
        "{sentence} Which kind is it? {options}",
        "Pick what kind of thing it is. {sentence} {options}",
    ),
    "review_sentiment": (
        "Review: {review} Is this review positive or negative? {options}",
        "Pick the sentiment of this review. {review} {options}",
        "{review} Give the sentiment. {options}",
        "Read this review: {review} How does the writer feel? {options}",
    ),
    "review_topic": (
        "Review: {review} What is this about? {options}",
        "Read the review: {review} Give the topic. {options}",
        "{review} Say what it is about. {options}",
        "Which of these is this review about? {review} {options}",
    ),
    "days": (
        "{event} Which day is the day {what} that?",
        "Say which day comes {what} this: {event}",
        "{event} Give the day {what} it.",
        "Name the day that comes {what} it. {event}",
    ),
    "numbers": (
        "{event} If there were one {what}, what number would it be?",
        "Write the number that is one {what}: {event}",
        "{event} Give one {what} than this number.",
        "How many would there be if there were one {what}? {event}",
    ),
}
