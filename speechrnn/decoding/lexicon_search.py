"""The inner loop of the search for words, compiled by numba on first use; see `speechrnn.decoding.lexicon`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from speechrnn.decoding.compiling import inner, outer
from speechrnn.decoding.lexicon_models import (
    BOOSTS,
    END,
    ENDS,
    FILLS,
    FIRST,
    GRAM,
    GRAMMARS,
    LANGUAGE_MODEL,
    REQUIRED,
    ROOM,
    ROOT,
    SEPARATOR,
    SPELLING,
    WEIGHT,
    WORD,
    WORD_BONUS,
    WORDS,
    ahead,
    goes_on,
    likeliest,
    word_score,
)
from speechrnn.decoding.lm.stepping import found_in
from speechrnn.decoding.search import likeliest_of, log_add, of_rank

BLANK = 0
PARENT, SYMBOL, CHILD, SIBLING, NODE, ENTRY, LANGUAGE, GRAMMAR, BOOST = range(9)
"""Columns of the prefixes' whole numbers: the tree of prefixes, the place in the lexicon's tree, the pronunciation that
ends here, and the state of each model after the words that have ended."""
FILLER, ENDED = -1, -2
"""Places that are no node of a word: inside an unknown word, and where a separator must follow."""
OPEN, UNKNOWN_ENDS, SEPARATES, FILLED = -1, -2, -3, -4
"""In place of a pronunciation: a word goes on, an unknown one ends, this is a separator, an unknown word goes on."""

SCORE, BASE, ADDED = range(3)
"""Columns of the candidates' numbers."""
FROM, WITH, ENDING, AT, AFTER, ALLOWED, BOOSTED = range(7)
"""Columns of the candidates' whole numbers: place in the beam, symbol (the blank: the prefix stays), and what the
prefix's row would hold. Of one that stays the entry's column has its symbol."""


class Beam(NamedTuple):
    """A search on its way."""

    tree: np.ndarray
    """int32 `(room, 9)`: the prefixes."""
    base: np.ndarray
    """float64 `(room,)`: score of the models for the words that have ended."""
    added: np.ndarray
    """float64 `(room,)`: the same, and what the word that has not ended may get."""
    hope: np.ndarray
    """float64 `(room,)`: the most that `added` can be after another symbol."""
    place: np.ndarray
    """int32 `(room,)`: the prefix's place in the beam, -1 where it is not there."""
    beams: np.ndarray
    """int32 `(2, width)`: prefixes in the beam of this frame and the next."""
    paths: np.ndarray
    """float64 `(2, width, 5)`: log probabilities of the paths that end in a blank, that do not, all; and the first two
    after the frame."""
    whole: np.ndarray
    """int32 `(most, 7)`: candidates."""
    real: np.ndarray
    """float64 `(most, 3)`: the same."""
    hashes: np.ndarray
    """int64 `(2, size)`: a hash table of candidates, twice as large as they are many; `size` is a power of two."""
    children: np.ndarray
    """int32 `(2, width)`: of each prefix in the beam, its first child there, and its next sibling there; -1: none."""
    counts: np.ndarray
    """int64 `(3,)`: rows of the tree, size of the beam, and which of the two it is."""
    ranked: np.ndarray
    """float64 `(most,)`: room for scores that are put in order."""
    order: np.ndarray
    """int64 `(width,)`: room for the places of the beam, the best first."""
    tried: np.ndarray
    """bool `(columns,)`: room for whether each symbol is tried in a frame."""
    symbols: np.ndarray
    """int64 `(columns,)`: room for those that are, the likeliest first."""


@outer
def begins(models: Any, memory: Any, row: np.ndarray) -> float:
    """The most that a word which begins after a prefix, given its row of the tree, may add to the score."""
    language, boost = np.int64(row[LANGUAGE]), np.int64(row[BOOST])
    score = models.real[WORD_BONUS]
    if models.whole[LANGUAGE_MODEL] != 0:
        log = models.real[WEIGHT] * likeliest(models, memory, language, np.int64(ROOT))
        score += max(log, word_score(models, language, np.int64(-1))[0])
    if models.whole[BOOSTS] != 0:
        most = -np.inf
        for column in range(models.boost.ahead.shape[1]):
            most = max(most, models.boost.ahead[boost, column])
        score += most
    return score


@inner
def _child(tree: np.ndarray, parent: int, symbol: int, entry: int) -> int:
    row = tree[parent, CHILD]
    while row >= 0 and (tree[row, SYMBOL] != symbol or tree[row, ENTRY] != entry):
        row = tree[row, SIBLING]
    return row


@inner
def _copy(rows: np.ndarray, source: int, target: int) -> None:
    """Write a row over another one; numba compiles an assignment of slices for seconds."""
    for column in range(rows.shape[1]):
        rows[target, column] = rows[source, column]


@inner
def _narrowed(beam: Any, found: int, width: int) -> Any:
    """Keep the best `width` candidates, in their order; gives their number and the lowest score."""
    floor = of_rank(beam.real[:, SCORE], found, width, beam.ranked)
    equal = width
    for j in range(found):
        equal -= beam.real[j, SCORE] > floor
    kept = 0
    for j in range(found):
        score = beam.real[j, SCORE]
        if score > floor or (score == floor and equal > 0):
            equal -= score == floor
            _copy(beam.whole, j, kept)
            _copy(beam.real, j, kept)
            kept += 1
    return kept, floor


@inner
def _stay(models: Any, row: np.ndarray, beam: Any, tried: np.ndarray) -> float:
    """The first candidates are the prefixes of the beam; gives the best score."""
    size, now = beam.counts[1], beam.counts[2]
    tree, members, paths = beam.tree, beam.beams[now], beam.paths[now]
    separator, best = models.whole[SEPARATOR], -np.inf
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
        if parent >= 0 and beam.place[parent] >= 0:
            j = beam.place[parent]
            beam.children[1, i], beam.children[0, j] = beam.children[0, j], i
            if not tried[symbol]:
                pass
            elif symbol == separator:
                paths[i, 3] = log_add(paths[i, 3], paths[j, 2] + row[symbol])
            else:
                before = paths[j, 0] if tree[parent, SYMBOL] == symbol else paths[j, 2]
                paths[i, 4] = log_add(paths[i, 4], before + row[symbol])
        score = log_add(paths[i, 3], paths[i, 4]) + beam.added[prefix]
        beam.real[i, SCORE], beam.real[i, BASE], beam.real[i, ADDED] = score, beam.base[prefix], beam.added[prefix]
        stays = beam.whole[i]
        stays[FROM], stays[WITH], stays[ENDING], stays[AT] = i, BLANK, symbol, tree[prefix, NODE]
        stays[AFTER], stays[ALLOWED] = tree[prefix, LANGUAGE], tree[prefix, GRAMMAR]
        stays[BOOSTED] = tree[prefix, BOOST]
        best = max(best, score)
    return best


@inner
def _offer(
    beam: Any, found: int, floor: float, path: float, base: float, added: float, i: int, symbol: int, entry: int,
    node: int, language: int, grammar: int, boost: int,
) -> int:  # fmt: skip
    """Write a candidate unless it is in the beam already or below the floor; gives their number."""
    if path + added < floor:
        return found
    j = beam.children[0, i]
    while j >= 0:  # what is in the beam is counted with the prefixes that stay
        other = beam.beams[beam.counts[2], j]
        if beam.tree[other, SYMBOL] == symbol and beam.tree[other, ENTRY] == entry:
            return found
        j = beam.children[1, j]
    beam.real[found, SCORE], beam.real[found, BASE], beam.real[found, ADDED] = path + added, base, added
    new = beam.whole[found]
    new[FROM], new[WITH], new[ENDING], new[AT] = i, symbol, entry, node
    new[AFTER], new[ALLOWED], new[BOOSTED] = language, grammar, boost
    return found + 1


@inner
def _states(tree: np.ndarray, prefix: int) -> Any:
    """The states of language model, grammar and boost."""
    return np.int64(tree[prefix, LANGUAGE]), np.int64(tree[prefix, GRAMMAR]), np.int64(tree[prefix, BOOST])


@inner
def _close(
    models: Any, beam: Any, found: int, floor: float, path: float, i: int, symbol: int, entry: int
) -> int:  # fmt: skip
    """Offer the prefix with a symbol that ends a word; gives the number of candidates."""
    tree, prefix = beam.tree, beam.beams[beam.counts[2], i]
    language, grammar, boost = _states(tree, prefix)
    base, word = beam.base[prefix] + models.real[WORD_BONUS], -1
    if entry == UNKNOWN_ENDS:
        score, after = word_score(models, language, -1)
        base = beam.added[prefix] + models.real[SPELLING] if tree[prefix, NODE] == FILLER else (
            base + score + models.real[SPELLING]
        )  # fmt: skip
    else:
        word = np.int64(models.entries[WORD, entry])  # type: ignore[assignment]
        score, after = word_score(models, language, np.int64(models.entries[GRAM, entry]))
        base += score + models.entry_logs[entry]
    if models.whole[GRAMMARS] != 0:
        arc = -1 if word < 0 else found_in(
            models.grammar.words[0], np.int64(grammar) * models.whole[WORDS] + word, 0, models.grammar.words.shape[1]
        )  # fmt: skip
        if arc < 0:
            return found
        grammar = models.grammar.words[1, arc]
    if models.whole[BOOSTS] != 0:
        column = models.boost.places[0, word] if word >= 0 else models.boost.next.shape[1] - 1
        base += models.boost.gain[boost, column]
        boost = np.int64(models.boost.next[boost, column])
    node = ENDED if models.whole[REQUIRED] != 0 else ROOT
    return _offer(beam, found, floor, path, base, base, i, symbol, entry, node, after, grammar, boost)


@inner
def _extend(models: Any, memory: Any, beam: Any, found: int, floor: float, path: float, i: int, symbol: int) -> int:
    """Offer all that a symbol can make of a prefix; gives the number of candidates."""
    tree, prefix = beam.tree, beam.beams[beam.counts[2], i]
    node, base = np.int64(tree[prefix, NODE]), beam.base[prefix]
    language, grammar, boost = _states(tree, prefix)
    if node == ENDED:
        if symbol == models.whole[SEPARATOR]:
            found = _offer(
                beam, found, floor, path, base, base, i, symbol, SEPARATES, ROOT, language, grammar, boost
            )  # fmt: skip
        return found
    if symbol == models.whole[SEPARATOR]:
        return found
    if models.whole[FILLS] != 0 and node in (ROOT, FILLER):
        added = beam.added[prefix] + models.real[SPELLING]
        if node == ROOT:
            added += models.real[WORD_BONUS] + word_score(models, language, -1)[0]
        found = _offer(
            beam, found, floor, path, base, added, i, symbol, FILLED, FILLER, language, grammar, boost
        )  # fmt: skip
        found = _close(models, beam, found, floor, path, i, symbol, UNKNOWN_ENDS)
    if node == FILLER:
        return found
    child = goes_on(models, node, symbol)
    if child < 0:
        return found
    if models.whole[GRAMMARS] != 0 and (
        found_in(models.grammar.nodes, np.int64(grammar) * models.trie.shape[1] + child, 0, len(models.grammar.nodes))
        < 0
    ):
        return found
    if models.trie[FIRST, child] < models.trie[FIRST, child + 1]:
        added = base + ahead(models, memory, language, boost, child)
        if path + added < floor and models.whole[BOOSTS] == 0 and models.unigrams[child] > -np.inf:
            return found
        found = _offer(beam, found, floor, path, base, added, i, symbol, OPEN, child, language, grammar, boost)
    for entry in range(np.int64(models.trie[ENDS, child]), np.int64(models.trie[ENDS, child + 1])):
        found = _close(models, beam, found, floor, path, i, symbol, entry)
    return found


@inner
def _recombined(beam: Any, found: int) -> int:
    """Of candidates that all that may follow scores alike keep the best one; gives their number."""
    mask, kept = beam.hashes.shape[1] - 1, 0
    for place in range(mask + 1):
        beam.hashes[0, place] = 0
    for j in range(found):
        new = beam.whole[j]
        key = np.int64(new[ENDING] if new[WITH] == BLANK else new[WITH])
        for column in range(AT, BOOSTED + 1):
            key = (key ^ key >> 29) * np.int64(-4658895280553007687) + new[column]
        key = (key ^ key >> 32) * np.int64(-7046029254386353131) | 1
        place = key >> 20 & mask
        while beam.hashes[0, place] != 0 and beam.hashes[0, place] != key:
            place = (place + 1) & mask
        if beam.hashes[0, place] == 0:
            beam.hashes[0, place], beam.hashes[1, place] = key, kept
            row = kept
            kept += 1
        else:
            row = beam.hashes[1, place]
            if beam.real[j, SCORE] <= beam.real[row, SCORE]:
                continue
        _copy(beam.whole, j, row)
        _copy(beam.real, j, row)
    return kept


@inner
def _take(models: Any, memory: Any, row: np.ndarray, beam: Any, found: int, floor: float) -> None:
    """Make the next beam of the candidates that are not below the floor."""
    nodes, size, now = beam.counts[0], beam.counts[1], beam.counts[2]
    tree, old, new, members = beam.tree, beam.paths[now], beam.paths[1 - now], beam.beams[now]
    for i in range(size):
        beam.place[members[i]] = -1
    size = 0
    for j in range(found):
        if beam.real[j, SCORE] < floor:
            continue
        candidate = beam.whole[j]
        i, symbol = candidate[FROM], candidate[WITH]
        parent = prefix = members[i]
        if symbol == BLANK:
            new[size, 0], new[size, 1] = old[i, 3], old[i, 4]
        else:
            before = old[i, 0] if symbol == tree[parent, SYMBOL] else old[i, 2]
            new[size, 0], new[size, 1] = -np.inf, before + row[symbol]
            if symbol == models.whole[SEPARATOR]:
                new[size, 0], new[size, 1] = new[size, 1], -np.inf
            prefix = _child(tree, parent, symbol, candidate[ENDING])
        if prefix < 0:
            prefix, nodes = nodes, nodes + 1
            tree[prefix, PARENT], tree[prefix, SYMBOL], tree[prefix, CHILD] = parent, symbol, -1
            tree[prefix, SIBLING], tree[parent, CHILD] = tree[parent, CHILD], prefix
            tree[prefix, NODE], tree[prefix, ENTRY] = candidate[AT], candidate[ENDING]
            tree[prefix, LANGUAGE], tree[prefix, GRAMMAR] = candidate[AFTER], candidate[ALLOWED]
            tree[prefix, BOOST] = candidate[BOOSTED]
            beam.base[prefix], beam.added[prefix] = beam.real[j, BASE], beam.real[j, ADDED]
            beam.hope[prefix] = beam.added[prefix]
            if tree[prefix, NODE] == ROOT:
                beam.hope[prefix] += begins(models, memory, tree[prefix])
        beam.beams[1 - now, size] = prefix
        size += 1
    now = 1 - now
    for i in range(size):
        beam.place[beam.beams[now, i]] = i
    beam.counts[0], beam.counts[1], beam.counts[2] = nodes, size, now


@outer
def run(
    models: Any, memory: Any, logs: np.ndarray, beam: Any, token_floor: float, beam_threshold: float, recombine: bool
) -> None:  # fmt: skip
    """Search through frames; the tree must have room for `width` prefixes a frame."""
    width, most = beam.beams.shape[1], len(beam.real)
    symbols, tried, order = beam.symbols, beam.tried, beam.order
    for frame in range(len(logs)):
        row, count, likeliest = logs[frame], 0, likeliest_of(logs[frame])
        for symbol in range(1, len(row)):
            tried[symbol] = (row[symbol] >= token_floor or symbol == likeliest) and row[symbol] > -np.inf
            if tried[symbol]:
                place = count
                while place > 0 and row[symbols[place - 1]] < row[symbol]:  # the likeliest first
                    symbols[place] = symbols[place - 1]
                    place -= 1
                symbols[place] = symbol
                count += 1
        best = _stay(models, row, beam, tried)
        size, now = beam.counts[1], beam.counts[2]
        found, floor, paths = size, best - beam_threshold, beam.paths[now]
        for i in range(size):
            place = i
            while place > 0 and beam.real[order[place - 1], SCORE] < beam.real[i, SCORE]:
                order[place] = order[place - 1]
                place -= 1
            order[place] = i
        if size == width:  # what is worse than all of these is not among the best
            floor = max(floor, beam.real[order[size - 1], SCORE])
        for j in range(size):
            i = order[j]
            last, hope = beam.tree[beam.beams[now, i], SYMBOL], beam.hope[beam.beams[now, i]]
            for k in range(count):
                symbol = symbols[k]
                if paths[i, 2] + row[symbol] + hope < floor:
                    break
                path = (paths[i, 0] if symbol == last else paths[i, 2]) + row[symbol]
                if path == -np.inf:
                    continue
                if found + models.whole[ROOM] > most:
                    if recombine:
                        found = _recombined(beam, found)
                    if found > width:
                        found, least = _narrowed(beam, found, width)
                        floor = max(floor, least)
                before = found
                found = _extend(models, memory, beam, found, floor, path, i, symbol)
                for new in range(before, found):
                    floor = max(floor, beam.real[new, SCORE] - beam_threshold)
        if recombine:
            found = _recombined(beam, found)
        if found > width:
            found, least = _narrowed(beam, found, width)
            floor = max(floor, least)
        _take(models, memory, row, beam, found, floor)


@outer
def finish(models: Any, beam: Any, scores: np.ndarray) -> None:
    """Fill in `(size, 2)`: log probability of each prefix's paths, and its score, -inf where no text may end."""
    now = beam.counts[2]
    for i in range(len(scores)):
        prefix = beam.beams[now, i]
        scores[i, 1] = -np.inf
        scores[i, 0] = log_add(beam.paths[now, i, 0], beam.paths[now, i, 1])
        if may_end(models, beam.tree[prefix]):
            scores[i, 1] = scores[i, 0] + beam.base[prefix]
            if models.whole[LANGUAGE_MODEL] != 0 and models.whole[END] >= 0:
                scores[i, 1] += word_score(models, np.int64(beam.tree[prefix, LANGUAGE]), models.whole[END])[0]
            if models.whole[BOOSTS] != 0:
                scores[i, 1] += models.boost.gain[beam.tree[prefix, BOOST], models.boost.gain.shape[1] - 1]


@outer
def may_end(models: Any, row: np.ndarray) -> bool:
    """Whether a text may end at a prefix."""
    if row[NODE] != ROOT and row[NODE] != ENDED:
        return False
    return models.whole[GRAMMARS] == 0 or models.grammar.ends[row[GRAMMAR]]


@outer
def common(beam: Any) -> int:
    """The longest prefix that all in the beam begin with."""
    members = beam.beams[beam.counts[2]]
    found = members[0]
    for i in range(1, beam.counts[1]):
        other = members[i]
        while found != other:  # a prefix has a higher row than what it begins with
            if found > other:
                found = beam.tree[found, PARENT]
            else:
                other = beam.tree[other, PARENT]
    return found


@outer
def compact(beam: Any, root: int, renamed: np.ndarray) -> None:
    """Drop all prefixes but those that the beam's begin with, from `root` on, which becomes row 0.

    `renamed` is room for their new rows, int32 `(nodes,)`, all -1.
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
        beam.base[kept], beam.added[kept], beam.hope[kept] = beam.base[old], beam.added[old], beam.hope[old]
        beam.place[kept] = beam.place[old]
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
