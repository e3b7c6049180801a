"""Strings that are hard on a tokenizer, the same ones on every run: name of the kind -> list of bytes."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

SENTENCES = [
    "The tide went out before the ferry arrived, so we waited on the quay and counted gulls.",
    "She didn't say why; it's the cat's basket, isn't it? \"Yes,\" he said, 'perhaps'.",
    "In 1987, 3.14159 km of cable cost $2,400.50 (about 12% less than planned).",
    "Der Zug nach München fährt um 17:45 Uhr, sofern die Weiche größtenteils eisfrei ist.",
    "L'été dernier, où étiez-vous ? À la plage, naïvement, près d'un cœur de sable.",
    "El niño comió piñas; ¿quién pagó la cuenta? ¡Qué más da!",
    "Amanhã não haverá pão, mas sobrarão maçãs e limões.",
    "Perché no? La città è già più bella dopo la pioggia.",
    "Łódź płynie wśród żółtych świateł, a dźwięk gęśli cichnie.",
    "Příliš mnoho koní pije vodu u dlouhé řeky.",
    "Öğretmen bugün güneşli bir İstanbul sabahını anlattı, ışık çok güzeldi.",
    "Tôi muốn uống một cốc cà phê sữa đá ở Đà Nẵng.",
    "Сегодня утром снег ещё лежал на крышах, но воробьи уже пели.",
    "Їжак заліз під ґанок і заснув до вечора.",
    "Ο ήλιος ανατέλλει πάνω από τη θάλασσα και τα ψάρια κοιμούνται.",
    "הילדה קראה ספר ליד החלון עד שירד הלילה.",
    "ذهب الولد إلى السوق واشترى خبزًا وتفاحتين، ثم عاد.",
    "بچه‌ها در کوچه بازی می‌کردند.",
    "आज सुबह बाज़ार में ताज़ी सब्ज़ियाँ मिलीं।",
    "আজ সকালে নদীর ধারে অনেক পাখি ছিল।",
    "இன்று காலை மழை பெய்தது, குளம் நிறைந்தது.",
    "เช้านี้ฝนตกหนักและรถไฟมาสายสองชั่วโมง",
    "今天早上下了一场小雨，街上的灯还亮着。",
    "昨日は図書館で古い地図を三枚見つけた。カタカナとひらがなも書いてある。",
    "오늘 아침에는 안개가 짙어서 배가 떠나지 못했다.",
    "დღეს დილით მთაზე თოვლი მოვიდა.",
    "Այսօր առավոտյան շուկան լի էր ծիրանով։",
    "ዛሬ ጠዋት ቡና ጠጣሁ።",
    "Leo asubuhi mvua ilinyesha na mto ukajaa maji.",
    "Ég sá þrjá hesta við ána, æðislegt veður í dag.",
]
CODE = [
    "def area(w: float, h: float = 1.0) -> float:\n\treturn w * h  # square\n",
    "for (size_t i = 0; i < n; ++i) {\n    out[i] += a[i] * b[i];\n}\n",
    "#include <vector>\nstd::vector<std::pair<int, float>> v{{1, 2.0f}};\n",
    "const f = async (x) => { await fetch(`/api/${x}?q=1&r=2`); };\n",
    "SELECT name, COUNT(*) FROM t WHERE id >= 10 GROUP BY name;\n",
    '{"key": [1, 2.5e-3, null, true], "text": "a\\nb\\u00e9"}\n',
    "if __name__ == '__main__':\n        print(f\"{x!r:>10}\")\n",
    "    \t  mixed_indent = lambda *a, **k: (a, k)\r\n",
    "$ grep -rn 'foo' . | awk '{print $1}' > /dev/null 2>&1\n",
    "\\begin{equation} \\frac{a}{b} \\le \\sum_{i=0}^{n} x_i^2 \\end{equation}\n",
    "https://example.org/a/b?c=d%20e#frag user@example.org 192.168.0.1\n",
    "CamelCaseName snake_case_name SCREAMING_CASE kebab-case-name x86_64\n",
]
LOOK_ALIKES = """
    <bos> <eos> <pad> <unk> <mask> <start_of_turn> <end_of_turn> <start_of_image> <end_of_image> [multimodal] </s> <s>
    <unused0> <unused98> <unused99> <unused6241> <unused6242> <unused> <0x41> <0x0A> <0xFF> <|im_end|> <|endoftext|>
    <|turn> <turn|> </bos> [multimodal start_of_turn>
""".split()
TAGS = """
    table caption thead tbody tr th td h1 h6 blockquote strong em b i u s sub sup code a html body img span ul li div
    iframe footer
""".split()
ZWJ, VS16 = "\u200d", "\ufe0f"


def pick(rng: random.Random, among: Sequence[str], low: int, high: int, join: str = "") -> str:
    return join.join(rng.choices(among, k=rng.randint(low, high)))


def blocks(rng: random.Random, n: int) -> list[bytes]:
    """Every code point up to U+323AF, and the tags and private planes, 64 at a time; the rest at random."""
    starts = [*range(0, 0x323C0, 64), *range(0xE0000, 0xE0200, 64), 0xF0000, 0x10FFC0]
    whole = ["".join(chr(c) for c in range(s, s + 64) if not 0xD800 <= c < 0xE000) for s in starts]
    out = [s.encode() for s in whole if s]
    while len(out) < n:
        out.append(" ".join(pick(rng, rng.choice(whole) or "x", 1, 6) for _ in range(rng.randint(1, 6))).encode())
    return out if n >= len(out) else rng.sample(out, n)


def emoji(rng: random.Random, n: int) -> list[bytes]:
    people, things = "👨👩🧑👦👧👶🐈🐕", "❤🚀💻🎓🌾🍳🔧🏳🏴⚕✈♂♀⬛🌈"
    tones, flags = "🏻🏼🏽🏾🏿", "🇦🇧🇨🇩🇪🇫🇬🇮🇯🇰🇵🇸🇺"
    out = []
    for _ in range(n):
        family = ZWJ.join(rng.choice(people) + rng.choice(["", rng.choice(tones)]) for _ in range(rng.randint(1, 4)))
        thing = ZWJ + rng.choice(things) + rng.choice(["", VS16]) if rng.random() < 0.5 else ""
        after = rng.choice(["", " ", "1\ufe0f\u20e3", pick(rng, flags, 1, 4), " ok "])
        out.append((family + thing + after + rng.choice(things)).encode())
    return out


def spaces(rng: random.Random, n: int) -> list[bytes]:
    out = [a + c * k + b for k in range(1, 41) for c in (b" ", b"\t", b"\n") for a in (b"", b"x") for b in (b"", b"y")]
    kinds = [*" \t\n\r\v\f\u00a0\u3000\u2581\u200b。", "  ", "\n\n", "word", "a."]
    while len(out) < n:
        runs = [rng.choice(kinds) * rng.choice([1, 1, 2, 3, 17, 33]) for _ in range(rng.randint(1, 8))]
        out.append("".join(runs).encode())
    return out if n >= 480 else rng.sample(out, n)


def invalid(rng: random.Random, n: int) -> list[bytes]:
    """Cut, spoilt, overlong, surrogates, past the last code point: and first bytes right before a space."""
    hexes = "80 bf ff fe c3 e4 f09f f09f98 e296 9681 c080 c1bf e08080 eda080 f0808080 f4908080 f888808080"
    bad = [bytes.fromhex(digits) for digits in hexes.split()]
    out = []
    for _ in range(n):
        text = bytearray(rng.choice(SENTENCES).encode()[: rng.randint(4, 60)])
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(text) + 1)
            what = rng.random()
            if what < 0.5:
                text[at:at] = rng.choice(bad) + rng.choice([b"", b" ", b"  ", b"\n", b"a"])
            elif what < 0.75:
                del text[at : at + 1]
            else:
                text[at : at + 1] = bytes([rng.randrange(256)])
        out.append(bytes(text))
    return out


def look_alikes(rng: random.Random, n: int) -> list[bytes]:
    out = []
    for _ in range(n):
        text = pick(rng, [*LOOK_ALIKES, *LOOK_ALIKES, " ", "<", ">", "a", "\n", "  ", "<<", "user"], 1, 6)
        if rng.random() < 0.3:
            at = rng.randrange(len(text))
            text = text[:at] + rng.choice(["", " ", text[at].swapcase(), "\u200b"]) + text[at + 1 :]
        out.append(text.encode())
    return out


def html(rng: random.Random, n: int) -> list[bytes]:
    parts = [f"<{t}>" for t in TAGS] + [f"</{t}>" for t in TAGS] + [f"<{t} class='x'>" for t in TAGS]
    parts += [" ", "\n", "  ", "text", "&nbsp;", "<br/>", "> <", "> </"]
    return [pick(rng, parts, 2, 12).encode() for _ in range(n)]


def code(rng: random.Random, n: int) -> list[bytes]:
    return [pick(rng, CODE, 1, 3, rng.choice(["", "    ", "\t"]))[rng.randrange(6) :].encode() for _ in range(n)]


def long_words(rng: random.Random, n: int) -> list[bytes]:
    """Both ways of merging, and their border: words of 1 to some hundreds of bytes without a space."""
    letters = [
        "abcdefghijklmnopqrstuvwxyz",
        "aab",
        "абвгдежзийклмн",
        "的一是在不了有和",
        "0123456789",
        "=-_*#",
        "éèêàü",
        "a",
    ]
    return [pick(rng, rng.choice(letters), 1, rng.choice([20, 60, 400])).encode() for _ in range(n)]


def random_bytes(rng: random.Random, n: int) -> list[bytes]:
    return [rng.randbytes(rng.randint(1, 80)) for _ in range(n)]


def prose(rng: random.Random, n: int) -> list[bytes]:
    return [pick(rng, SENTENCES, 1, 4, rng.choice([" ", "\n", "\n\n", ""])).encode() for _ in range(n)]


KINDS: dict[str, Callable[[random.Random, int], list[bytes]]] = {
    "blocks": blocks, "emoji": emoji, "spaces": spaces, "invalid": invalid, "look_alikes": look_alikes, "html": html,
    "code": code, "long_words": long_words, "random_bytes": random_bytes, "prose": prose,
}  # fmt: skip


def strings(counts: dict[str, int]) -> dict[str, list[bytes]]:
    """`counts`: how many of each kind; a kind has the same strings whatever the others' counts."""
    return {kind: KINDS[kind](random.Random(f"tokenizer {kind}"), n) for kind, n in counts.items()}


def glued(pieces: Sequence[bytes], n: int) -> list[bytes]:
    """Pieces of a vocabulary side by side: text that nearly merges across every seam."""
    rng = random.Random("tokenizer pieces")
    return [b"".join(rng.choices(pieces, k=rng.randint(1, 7))).replace("\u2581".encode(), b" ") for _ in range(n)]
