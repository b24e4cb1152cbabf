"""OpenAssistant's message trees, each of several conversations: a prompt, rival answers, what was asked then.

    prompt ─┬─ answer (rank 1) ── question ── answer
            └─ answer (rank 0) ─┬─ question ── answer
                                └─ question            <- nobody answered: cut

`paths="leaves"` makes three conversations of it, but the one cut; `paths="best"` the one that goes by the lowest ranks.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from flan_jax.errors import UserError
from flan_jax.tasks.chats import ChatTask
from flan_jax.tasks.conversations import ROLES
from flan_jax.tasks.formats import recognition
from flan_jax.tasks.formats.places import Place, is_on_hub, source_at
from flan_jax.tasks.sources import FileSource, Grouped, Row
from flan_jax.tasks.tally import BadRow
from flan_jax.tasks.vocabularies import VocabularyLike

TREE = "message_tree_id"
READY = ("ready_for_export",)


@dataclasses.dataclass(slots=True)
class _Node:
    """A message and what was replied to it."""

    message: Mapping[str, Any]
    replies: list["_Node"]

    @property
    def is_answer(self) -> bool:
        return ROLES.get(str(self.message.get("role")).lower()) == "assistant"


@dataclasses.dataclass(frozen=True)
class OasstTrees:
    """Makes rows with "messages" of a tree: nested as in `*.trees.jsonl`, or {"together": its messages}.

    Attributes:
      paths: "leaves": a conversation for each last answer; "best": one, by the lowest rank of the replies, where those
        without a rank come after those with one, and the earlier of two alike first.
      langs: the languages whose messages are kept, such as ("en", "de"); empty for all.
      states: the states of trees that are kept; a tree that tells none is.
      synthetic: whether what a model wrote is kept.
      deleted: whether what was deleted is kept.
      rejected: whether what reviewers rejected is kept.
      once: whether an answer that several paths share is learnt in the first of them alone.
    """

    paths: Literal["leaves", "best"] = "leaves"
    langs: tuple[str, ...] = ()
    states: tuple[str, ...] = READY
    synthetic: bool = True
    deleted: bool = False
    rejected: bool = False
    once: bool = False

    def __call__(self, row: Row) -> list[Row]:
        """The conversations of a tree.

        >>> answers = [{"text": "4", "role": "assistant", "rank": 1}, {"text": "Four.", "role": "assistant", "rank": 0}]
        >>> tree = {"prompt": {"text": "2 + 2?", "role": "prompter", "replies": answers}}
        >>> [row["messages"][1]["content"] for row in OasstTrees()(tree)]
        ['4', 'Four.']
        >>> [row["messages"][1]["content"] for row in OasstTrees("best")(tree)]
        ['Four.']

        Raises:
          BadRow: the messages are no tree.
        """
        messages = row.get("together")
        state = messages[0].get("tree_state") if messages else row.get("tree_state")
        if state is not None and self.states and state not in self.states:
            return []
        roots = _nested(row.get("prompt")) if messages is None else _by_parents(messages)
        shared: set[int] = set()
        return [{"messages": self._said(path, shared)} for root in self._pruned(roots) for path in self._paths(root)]

    def _paths(self, root: _Node) -> Iterator[list[_Node]]:
        stack = [[root]]
        while stack:
            path = stack.pop()
            replies = path[-1].replies
            if not replies:
                yield path
            elif self.paths == "best":
                stack.append([*path, min(replies, key=_rank)])
            else:
                stack += [[*path, reply] for reply in reversed(replies)]

    def _pruned(self, roots: Iterable[_Node]) -> list[_Node]:
        """The trees without what is not wanted, and without questions that nobody answers."""
        kept = [root for root in roots if self._keeps(root.message)]
        nodes = list(kept)
        for node in nodes:  # grows: each after what it replies to
            node.replies = [reply for reply in node.replies if self._keeps(reply.message)]
            nodes += node.replies
        for node in reversed(nodes):
            node.replies = [reply for reply in node.replies if reply.replies or reply.is_answer]
        return [root for root in kept if root.replies or root.is_answer]

    def _keeps(self, message: Mapping[str, Any]) -> bool:
        return (
            (not self.langs or message.get("lang") in self.langs)
            and (self.synthetic or not message.get("synthetic"))
            and (self.deleted or not message.get("deleted"))
            and (self.rejected or message.get("review_result") is not False)
        )

    def _said(self, path: list[_Node], shared: set[int]) -> list[Row]:
        said: list[Row] = []
        for node in path:
            one = {"role": node.message.get("role"), "content": node.message.get("text")}
            said.append({**one, "loss_weight": 0.0} if self.once and id(node) in shared else one)
            shared.add(id(node))
        return said


def _rank(node: _Node) -> float:
    rank = node.message.get("rank")
    return float("inf") if rank is None else rank


def _nested(prompt: Any) -> list[_Node]:
    """The tree below a message."""
    if not isinstance(prompt, Mapping):
        raise BadRow(f"the tree's prompt is {type(prompt).__name__}; a message with its replies is wanted")
    root = _Node(prompt, [])
    known = {prompt.get("message_id")}
    nodes = [root]
    for node in nodes:  # grows
        replies = node.message.get("replies") or []
        for reply in replies if isinstance(replies, list) else [replies]:
            if not isinstance(reply, Mapping):
                raise BadRow(f"{_named(node.message)} has the reply {reply!r}; a message is wanted")
            own, parent, above = reply.get("message_id"), reply.get("parent_id"), node.message.get("message_id")
            if own is not None and own in known:
                raise BadRow(f"{_named(reply)} stands twice in the tree")
            if parent is not None and above is not None and parent != above:
                raise BadRow(f"{_named(reply)} replies to {above!r}, and its parent_id is {parent!r}")
            known.add(own)
            node.replies.append(_Node(reply, []))
        nodes += node.replies
    return [root]


def _by_parents(messages: list[Row]) -> list[_Node]:
    """The trees of messages that name their parents."""
    nodes: dict[Any, _Node] = {}
    for message in messages:
        if message.get("message_id") is None:
            raise BadRow("a message of the tree has no message_id")
        if message["message_id"] in nodes:
            raise BadRow(f"{_named(message)} stands twice in the tree")
        nodes[message["message_id"]] = _Node(message, [])
    roots = []
    for node in nodes.values():
        parent = node.message.get("parent_id")
        if parent is None:
            roots.append(node)
        elif parent not in nodes:
            raise BadRow(f"{_named(node.message)} replies to {parent!r}, which is not among the messages beside it")
        else:
            nodes[parent].replies.append(node)
    reached = list(roots)
    for node in reached:  # grows
        reached += node.replies
    if len(reached) < len(nodes):
        found = {id(node) for node in reached}
        first = next(node for node in nodes.values() if id(node) not in found)
        raise BadRow(f"{_named(first.message)} replies to itself, by way of its parents")
    return roots


def _named(message: Mapping[str, Any]) -> str:
    return f"message {message.get('message_id')!r}"


def oasst_trees(
    place: Place,
    name: str,
    *,
    paths: Literal["leaves", "best"] = "leaves",
    langs: tuple[str, ...] = (),
    states: tuple[str, ...] = READY,
    synthetic: bool = True,
    deleted: bool = False,
    rejected: bool = False,
    once: bool = False,
    is_flat: bool | None = None,
    validation_rows: int | None = 0,
    on_bad_row: str | None = None,
    vocabulary: VocabularyLike | None = None,
    cap: int | None = None,
) -> ChatTask:
    """Declares a task of OpenAssistant's trees, each conversation of one an example; call `register()` on it to use it.

    Args:
      place: see `flan_jax.tasks.formats.places.Place`.
      name: the task's name.
      paths: see `OasstTrees`.
      langs: see `OasstTrees`.
      states: see `OasstTrees`.
      synthetic: see `OasstTrees`.
      deleted: see `OasstTrees`.
      rejected: see `OasstTrees`.
      once: see `OasstTrees`.
      is_flat: whether a row is a message that names its parent (`*.messages.jsonl`, and the hub's copy), those of a
        tree one after another; None looks at a file's first rows, and takes a name on the hub as flat, other sources
        as trees.
      validation_rows: how many of the first trees become the validation split; None: a tenth of the rows, at most 50.
      on_bad_row: "error" or "skip"; None leaves it to who reads.
      vocabulary: as in `InstructionTask`.
      cap: as in `InstructionTask`.

    Raises:
      UserError: `paths` is something else, or see `source_at`.
    """
    if paths not in ("leaves", "best"):
        raise UserError(f"oasst_trees(paths={paths!r}): it is 'leaves' or 'best'.")
    trees = OasstTrees(paths, tuple(langs), tuple(states), synthetic, deleted, rejected, once)
    source = source_at(place, validation_rows, on_bad_row)
    if is_flat is None:
        is_flat = is_on_hub(place) or (isinstance(source, FileSource) and _is_flat(source, place))
    columns = (TREE,) if is_flat else ()
    return declared(source, name, columns, preprocess=trees, vocabulary=vocabulary, cap=cap)


def _is_flat(source: FileSource, place: Any) -> bool:
    return recognition.form_of(source, place, None) == ("oasst", (TREE,))


def declared(source: Any, name: str, columns: tuple[str, ...], **shared: Any) -> ChatTask:
    """See `flan_jax.tasks.formats.files`; the column that tells the tree of a message, where rows are messages."""
    how: dict[str, Any] = {"preprocess": OasstTrees(), **shared}
    return ChatTask(name, _together(source, *columns) if columns else source, **how)


def _together(source: Any, column: str) -> Grouped:
    """The trees of a source of messages; a file's slices then count trees, so that none is torn."""
    if isinstance(source, FileSource):
        return Grouped(dataclasses.replace(source, slices=()), column, source.slices)
    return Grouped(source, column)
