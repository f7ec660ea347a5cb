"""The inner loop of the search for words, compiled by numba on first use; see `speechrnn.decoding.lexicon`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from speechrnn.decoding.compiling import inner, outer
from speechrnn.decoding.lexicon_models import (
    BOOSTS,
    BRANCHING,
    END,
    ENDS,
    FIRST,
    GRAM,
    GRAMMARS,
    LANGUAGE_MODEL,
    REQUIRED,
    ROOT,
    SEPARATOR,
    SPELLING,
    UNKNOWN_WORDS,
    WEIGHT,
    WORD,
    WORD_BONUS,
    WORDS,
    child_of,
    incomplete_word_score,
    look_ahead,
    word_score,
)
from speechrnn.decoding.lm.stepping import find_sorted
from speechrnn.decoding.search import log_add, most_likely, score_of_rank

BLANK = 0
PARENT, SYMBOL, CHILD, SIBLING, NODE, ENTRY, LANGUAGE, GRAMMAR, BOOST = range(9)
"""Columns of `Beam.tree`: links between prefixes, node of the lexicon's tree, pronunciation that ends here, and the
state of each model after the completed words."""
IN_UNKNOWN, ENDED = -1, -2
"""Values of NODE that are not nodes: within an unknown word, and before a required separator."""
OPEN, UNKNOWN_ENDS, SEPARATOR_ENDS, UNKNOWN_CONTINUES = -1, -2, -3, -4
"""Values of ENTRY that are not pronunciations: a word continues, an unknown word ends, a separator, an unknown word
continues."""

SCORE, BASE, TOTAL = range(3)
"""Columns of `Beam.scores`."""
FROM, WITH, ENDING, AT, AFTER, ALLOWED, BOOSTED = range(7)
"""Columns of `Beam.candidates`: position in the beam, symbol (blank: the prefix stays), and the columns ENTRY to BOOST
of the new prefix. For a prefix that stays, ENDING is its symbol."""


class Beam(NamedTuple):
    """State of a search: prefixes, beams, and buffers."""

    tree: np.ndarray
    """int32 `(room, 9)`: the prefixes."""
    base: np.ndarray
    """float64 `(room,)`: the models' score of the completed words."""
    total: np.ndarray
    """float64 `(room,)`: `base` plus the score of an incomplete word."""
    bound: np.ndarray
    """float64 `(room,)`: upper bound of `total` after another symbol."""
    position: np.ndarray
    """int32 `(room,)`: the prefix's position in the beam, or -1."""
    beams: np.ndarray
    """int32 `(2, width)`: prefixes in the beams of this frame and the next."""
    paths: np.ndarray
    """float64 `(2, width, 5)`: log-probabilities of the paths that end in a blank, that do not, and of all; then the
    first two after the frame."""
    candidates: np.ndarray
    """int32 `(capacity, 7)`: candidates for the next beam."""
    scores: np.ndarray
    """float64 `(capacity, 3)`: their scores."""
    hashes: np.ndarray
    """int64 `(2, size)`: hash table of candidates, at most half full; `size` is a power of two."""
    children: np.ndarray
    """int32 `(2, width)`: for each prefix in the beam its first child and its next sibling in the beam, or -1."""
    counts: np.ndarray
    """int64 `(3,)`: rows of the tree, size of the beam, and which of the two beams is the current one."""
    ranked: np.ndarray
    """float64 `(capacity,)`: buffer for ranking scores."""
    order: np.ndarray
    """int64 `(width,)`: buffer for the positions of the beam, the best first."""
    tried: np.ndarray
    """bool `(columns,)`: buffer for whether each symbol is tried in a frame."""
    symbols: np.ndarray
    """int64 `(columns,)`: buffer for the tried symbols, the most probable first."""


@outer
def next_word_bound(models: Any, cache: Any, row: np.ndarray) -> float:
    """Upper bound of the score of the next word after a prefix, given its row of the tree."""
    language, boost = np.int64(row[LANGUAGE]), np.int64(row[BOOST])
    score = models.floats[WORD_BONUS]
    if models.ints[LANGUAGE_MODEL] != 0:
        log = models.floats[WEIGHT] * look_ahead(models, cache, language, np.int64(ROOT))
        score += max(log, word_score(models, language, np.int64(-1))[0])
    if models.ints[BOOSTS] != 0:
        highest = -np.inf
        for column in range(models.boost.ahead.shape[1]):
            highest = max(highest, models.boost.ahead[boost, column])
        score += highest
    return score


@inner
def _child(tree: np.ndarray, parent: int, symbol: int, entry: int) -> int:
    row = tree[parent, CHILD]
    while row >= 0 and (tree[row, SYMBOL] != symbol or tree[row, ENTRY] != entry):
        row = tree[row, SIBLING]
    return row


@inner
def _copy(rows: np.ndarray, source: int, target: int) -> None:
    """Copy a row; numba takes seconds to compile an assignment of slices."""
    for column in range(rows.shape[1]):
        rows[target, column] = rows[source, column]


@inner
def _narrow(beam: Any, count: int, width: int) -> Any:
    """Keep the best `width` candidates, in their order; returns their number and the lowest score."""
    floor = score_of_rank(beam.scores[:, SCORE], count, width, beam.ranked)
    equal = width
    for j in range(count):
        equal -= beam.scores[j, SCORE] > floor
    kept = 0
    for j in range(count):
        score = beam.scores[j, SCORE]
        if score > floor or (score == floor and equal > 0):
            equal -= score == floor
            _copy(beam.candidates, j, kept)
            _copy(beam.scores, j, kept)
            kept += 1
    return kept, floor


@inner
def _stay(models: Any, row: np.ndarray, beam: Any, tried: np.ndarray) -> float:
    """Make the prefixes of the beam the first candidates; returns the best score."""
    size, now = beam.counts[1], beam.counts[2]
    tree, members, paths = beam.tree, beam.beams[now], beam.paths[now]
    separator, best = models.ints[SEPARATOR], -np.inf
    between = row[BLANK] if separator < 0 else log_add(row[BLANK], row[separator])
    for i in range(size):
        prefix = members[i]
        symbol = tree[prefix, SYMBOL]
        paths[i, 2] = log_add(paths[i, 0], paths[i, 1])
        paths[i, 3] = paths[i, 2] + (between if tree[prefix, NODE] == ROOT else row[BLANK])
        paths[i, 4] = paths[i, 1] + row[symbol] if symbol > 0 else -np.inf
        beam.children[0, i] = -1
    for i in range(size):
        prefix = members[i]
        symbol, parent = tree[prefix, SYMBOL], tree[prefix, PARENT]
        if parent >= 0 and beam.position[parent] >= 0:
            j = beam.position[parent]
            beam.children[1, i], beam.children[0, j] = beam.children[0, j], i
            if not tried[symbol]:
                pass
            elif symbol == separator:
                paths[i, 3] = log_add(paths[i, 3], paths[j, 2] + row[symbol])
            else:
                before = paths[j, 0] if tree[parent, SYMBOL] == symbol else paths[j, 2]
                paths[i, 4] = log_add(paths[i, 4], before + row[symbol])
        score = log_add(paths[i, 3], paths[i, 4]) + beam.total[prefix]
        beam.scores[i, SCORE], beam.scores[i, BASE], beam.scores[i, TOTAL] = (
            score,
            beam.base[prefix],
            beam.total[prefix],
        )
        stays = beam.candidates[i]
        stays[FROM], stays[WITH], stays[ENDING], stays[AT] = i, BLANK, symbol, tree[prefix, NODE]
        stays[AFTER], stays[ALLOWED] = tree[prefix, LANGUAGE], tree[prefix, GRAMMAR]
        stays[BOOSTED] = tree[prefix, BOOST]
        best = max(best, score)
    return best


@inner
def _offer(
    beam: Any, count: int, floor: float, path: float, base: float, total: float, i: int, symbol: int, entry: int,
    node: int, language: int, grammar: int, boost: int,
) -> int:  # fmt: skip
    """Add a candidate unless it is in the beam or below the floor; returns the number of candidates."""
    if path + total < floor:
        return count
    j = beam.children[0, i]
    while j >= 0:  # a prefix in the beam is among the prefixes that stay
        other = beam.beams[beam.counts[2], j]
        if beam.tree[other, SYMBOL] == symbol and beam.tree[other, ENTRY] == entry:
            return count
        j = beam.children[1, j]
    beam.scores[count, SCORE], beam.scores[count, BASE], beam.scores[count, TOTAL] = path + total, base, total
    new = beam.candidates[count]
    new[FROM], new[WITH], new[ENDING], new[AT] = i, symbol, entry, node
    new[AFTER], new[ALLOWED], new[BOOSTED] = language, grammar, boost
    return count + 1


@inner
def _states(tree: np.ndarray, prefix: int) -> Any:
    """The states of language model, grammar and boost."""
    return np.int64(tree[prefix, LANGUAGE]), np.int64(tree[prefix, GRAMMAR]), np.int64(tree[prefix, BOOST])


@inner
def _close(
    models: Any, beam: Any, count: int, floor: float, path: float, i: int, symbol: int, entry: int
) -> int:  # fmt: skip
    """Add the prefix with a symbol that ends a word; returns the number of candidates."""
    tree, prefix = beam.tree, beam.beams[beam.counts[2], i]
    language, grammar, boost = _states(tree, prefix)
    base, word = beam.base[prefix] + models.floats[WORD_BONUS], -1
    if entry == UNKNOWN_ENDS:
        score, after = word_score(models, language, -1)
        base = beam.total[prefix] + models.floats[SPELLING] if tree[prefix, NODE] == IN_UNKNOWN else (
            base + score + models.floats[SPELLING]
        )  # fmt: skip
    else:
        word = np.int64(models.entries[WORD, entry])  # type: ignore[assignment]
        score, after = word_score(models, language, np.int64(models.entries[GRAM, entry]))
        base += score + models.entry_logs[entry]
    if models.ints[GRAMMARS] != 0:
        arc = -1 if word < 0 else find_sorted(
            models.grammar.words[0], np.int64(grammar) * models.ints[WORDS] + word, 0, models.grammar.words.shape[1]
        )  # fmt: skip
        if arc < 0:
            return count
        grammar = models.grammar.words[1, arc]
    if models.ints[BOOSTS] != 0:
        column = models.boost.columns[0, word] if word >= 0 else models.boost.next.shape[1] - 1
        base += models.boost.gain[boost, column]
        boost = np.int64(models.boost.next[boost, column])
    node = ENDED if models.ints[REQUIRED] != 0 else ROOT
    return _offer(beam, count, floor, path, base, base, i, symbol, entry, node, after, grammar, boost)


@inner
def _extend(models: Any, cache: Any, beam: Any, count: int, floor: float, path: float, i: int, symbol: int) -> int:
    """Add all extensions of a prefix by a symbol; returns the number of candidates."""
    tree, prefix = beam.tree, beam.beams[beam.counts[2], i]
    node, base = np.int64(tree[prefix, NODE]), beam.base[prefix]
    language, grammar, boost = _states(tree, prefix)
    if node == ENDED:
        if symbol == models.ints[SEPARATOR]:
            count = _offer(
                beam, count, floor, path, base, base, i, symbol, SEPARATOR_ENDS, ROOT, language, grammar, boost
            )  # fmt: skip
        return count
    if symbol == models.ints[SEPARATOR]:
        return count
    if models.ints[UNKNOWN_WORDS] != 0 and node in (ROOT, IN_UNKNOWN):
        total = beam.total[prefix] + models.floats[SPELLING]
        if node == ROOT:
            total += models.floats[WORD_BONUS] + word_score(models, language, -1)[0]
        count = _offer(
            beam, count, floor, path, base, total, i, symbol, UNKNOWN_CONTINUES, IN_UNKNOWN, language, grammar, boost
        )  # fmt: skip
        count = _close(models, beam, count, floor, path, i, symbol, UNKNOWN_ENDS)
    if node == IN_UNKNOWN:
        return count
    child = child_of(models, node, symbol)
    if child < 0:
        return count
    if models.ints[GRAMMARS] != 0 and (
        find_sorted(
            models.grammar.nodes, np.int64(grammar) * models.trie.shape[1] + child, 0, len(models.grammar.nodes)
        )
        < 0
    ):
        return count
    if models.trie[FIRST, child] < models.trie[FIRST, child + 1]:
        total = base + incomplete_word_score(models, cache, language, boost, child)
        if path + total < floor and models.ints[BOOSTS] == 0 and models.unigrams[child] > -np.inf:
            return count
        count = _offer(beam, count, floor, path, base, total, i, symbol, OPEN, child, language, grammar, boost)
    for entry in range(np.int64(models.trie[ENDS, child]), np.int64(models.trie[ENDS, child + 1])):
        count = _close(models, beam, count, floor, path, i, symbol, entry)
    return count


@inner
def _recombine(beam: Any, count: int) -> int:
    """Keep the best of candidates that any continuation scores equally; returns the number of candidates."""
    mask, kept = beam.hashes.shape[1] - 1, 0
    for slot in range(mask + 1):
        beam.hashes[0, slot] = 0
    for j in range(count):
        new = beam.candidates[j]
        key = np.int64(new[ENDING] if new[WITH] == BLANK else new[WITH])
        for column in range(AT, BOOSTED + 1):
            key = (key ^ key >> 29) * np.int64(-4658895280553007687) + new[column]
        key = (key ^ key >> 32) * np.int64(-7046029254386353131) | 1
        slot = key >> 20 & mask
        while beam.hashes[0, slot] != 0 and beam.hashes[0, slot] != key:
            slot = (slot + 1) & mask
        if beam.hashes[0, slot] == 0:
            beam.hashes[0, slot], beam.hashes[1, slot] = key, kept
            row = kept
            kept += 1
        else:
            row = beam.hashes[1, slot]
            if beam.scores[j, SCORE] <= beam.scores[row, SCORE]:
                continue
        _copy(beam.candidates, j, row)
        _copy(beam.scores, j, row)
    return kept


@inner
def _take(models: Any, cache: Any, row: np.ndarray, beam: Any, count: int, floor: float) -> None:
    """Make the next beam from the candidates that are not below the floor."""
    nodes, size, now = beam.counts[0], beam.counts[1], beam.counts[2]
    tree, old, new, members = beam.tree, beam.paths[now], beam.paths[1 - now], beam.beams[now]
    for i in range(size):
        beam.position[members[i]] = -1
    size = 0
    for j in range(count):
        if beam.scores[j, SCORE] < floor:
            continue
        candidate = beam.candidates[j]
        i, symbol = candidate[FROM], candidate[WITH]
        parent = prefix = members[i]
        if symbol == BLANK:
            new[size, 0], new[size, 1] = old[i, 3], old[i, 4]
        else:
            before = old[i, 0] if symbol == tree[parent, SYMBOL] else old[i, 2]
            new[size, 0], new[size, 1] = -np.inf, before + row[symbol]
            if symbol == models.ints[SEPARATOR]:
                new[size, 0], new[size, 1] = new[size, 1], -np.inf
            prefix = _child(tree, parent, symbol, candidate[ENDING])
        if prefix < 0:
            prefix, nodes = nodes, nodes + 1
            tree[prefix, PARENT], tree[prefix, SYMBOL], tree[prefix, CHILD] = parent, symbol, -1
            tree[prefix, SIBLING], tree[parent, CHILD] = tree[parent, CHILD], prefix
            tree[prefix, NODE], tree[prefix, ENTRY] = candidate[AT], candidate[ENDING]
            tree[prefix, LANGUAGE], tree[prefix, GRAMMAR] = candidate[AFTER], candidate[ALLOWED]
            tree[prefix, BOOST] = candidate[BOOSTED]
            beam.base[prefix], beam.total[prefix] = beam.scores[j, BASE], beam.scores[j, TOTAL]
            beam.bound[prefix] = beam.total[prefix]
            if tree[prefix, NODE] == ROOT:
                beam.bound[prefix] += next_word_bound(models, cache, tree[prefix])
        beam.beams[1 - now, size] = prefix
        size += 1
    now = 1 - now
    for i in range(size):
        beam.position[beam.beams[now, i]] = i
    beam.counts[0], beam.counts[1], beam.counts[2] = nodes, size, now


@outer
def run(
    models: Any, cache: Any, logs: np.ndarray, beam: Any, token_floor: float, beam_threshold: float, recombine: bool
) -> None:  # fmt: skip
    """Search through frames; the tree must have room for `width` prefixes per frame."""
    width, capacity = beam.beams.shape[1], len(beam.scores)
    symbols, tried, order = beam.symbols, beam.tried, beam.order
    for frame in range(len(logs)):
        row, num_tried, best_symbol = logs[frame], 0, most_likely(logs[frame])
        for symbol in range(1, len(row)):
            tried[symbol] = (row[symbol] >= token_floor or symbol == best_symbol) and row[symbol] > -np.inf
            if tried[symbol]:
                position = num_tried
                while position > 0 and row[symbols[position - 1]] < row[symbol]:  # the most probable first
                    symbols[position] = symbols[position - 1]
                    position -= 1
                symbols[position] = symbol
                num_tried += 1
        best = _stay(models, row, beam, tried)
        size, now = beam.counts[1], beam.counts[2]
        count, floor, paths = size, best - beam_threshold, beam.paths[now]
        for i in range(size):
            position = i
            while position > 0 and beam.scores[order[position - 1], SCORE] < beam.scores[i, SCORE]:
                order[position] = order[position - 1]
                position -= 1
            order[position] = i
        if size == width:  # a candidate that is worse than all of these cannot be among the best
            floor = max(floor, beam.scores[order[size - 1], SCORE])
        for j in range(size):
            i = order[j]
            last, bound = beam.tree[beam.beams[now, i], SYMBOL], beam.bound[beam.beams[now, i]]
            for k in range(num_tried):
                symbol = symbols[k]
                if paths[i, 2] + row[symbol] + bound < floor:
                    break
                path = (paths[i, 0] if symbol == last else paths[i, 2]) + row[symbol]
                if path == -np.inf:
                    continue
                if count + models.ints[BRANCHING] > capacity:
                    if recombine:
                        count = _recombine(beam, count)
                    if count > width:
                        count, lowest = _narrow(beam, count, width)
                        floor = max(floor, lowest)
                before = count
                count = _extend(models, cache, beam, count, floor, path, i, symbol)
                for new in range(before, count):
                    floor = max(floor, beam.scores[new, SCORE] - beam_threshold)
        if recombine:
            count = _recombine(beam, count)
        if count > width:
            count, lowest = _narrow(beam, count, width)
            floor = max(floor, lowest)
        _take(models, cache, row, beam, count, floor)


@outer
def finish(models: Any, beam: Any, scores: np.ndarray) -> None:
    """Fill in `(size, 2)`: log-probability of each prefix's paths, and its score, -inf if no text may end there."""
    now = beam.counts[2]
    for i in range(len(scores)):
        prefix = beam.beams[now, i]
        scores[i, 1] = -np.inf
        scores[i, 0] = log_add(beam.paths[now, i, 0], beam.paths[now, i, 1])
        if may_end(models, beam.tree[prefix]):
            scores[i, 1] = scores[i, 0] + beam.base[prefix]
            if models.ints[LANGUAGE_MODEL] != 0 and models.ints[END] >= 0:
                scores[i, 1] += word_score(models, np.int64(beam.tree[prefix, LANGUAGE]), models.ints[END])[0]
            if models.ints[BOOSTS] != 0:
                scores[i, 1] += models.boost.gain[beam.tree[prefix, BOOST], models.boost.gain.shape[1] - 1]


@outer
def may_end(models: Any, row: np.ndarray) -> bool:
    """Whether a text may end at a prefix."""
    if row[NODE] != ROOT and row[NODE] != ENDED:
        return False
    return models.ints[GRAMMARS] == 0 or models.grammar.ends[row[GRAMMAR]]


@outer
def common_prefix(beam: Any) -> int:
    """The longest common prefix of the beam."""
    members = beam.beams[beam.counts[2]]
    prefix = members[0]
    for i in range(1, beam.counts[1]):
        other = members[i]
        while prefix != other:  # a prefix has a higher row than its ancestors
            if prefix > other:
                prefix = beam.tree[prefix, PARENT]
            else:
                other = beam.tree[other, PARENT]
    return prefix


@outer
def compact(beam: Any, root: int, renamed: np.ndarray) -> None:
    """Drop all prefixes but those of the beam and their ancestors down to `root`, which becomes row 0.

    `renamed` is a buffer for their new rows, int32 `(nodes,)`, all -1.
    """
    nodes, size, now = beam.counts[0], beam.counts[1], beam.counts[2]
    tree = beam.tree
    renamed[root] = 0
    for i in range(size):
        prefix = beam.beams[now, i]
        while renamed[prefix] < 0:
            renamed[prefix] = 0
            prefix = tree[prefix, PARENT]
    kept = 0
    for old in range(root, nodes):
        if renamed[old] < 0:
            continue
        renamed[old] = kept
        _copy(tree, old, kept)
        beam.base[kept], beam.total[kept], beam.bound[kept] = beam.base[old], beam.total[old], beam.bound[old]
        beam.position[kept] = beam.position[old]
        tree[kept, CHILD], tree[kept, SIBLING] = -1, -1
        if kept == 0:
            tree[kept, PARENT] = -1
        else:
            parent = renamed[tree[kept, PARENT]]
            tree[kept, PARENT], tree[kept, SIBLING], tree[parent, CHILD] = parent, tree[parent, CHILD], kept
        kept += 1
    for i in range(size):
        beam.beams[now, i] = renamed[beam.beams[now, i]]
    beam.counts[0] = kept
