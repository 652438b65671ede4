"""Tables of what a server can do wrong, each row with what is right; see `support_raw_faults`."""

from __future__ import annotations

import gzip
import itertools
import json
import zlib
from functools import partial

from ..support_core import data, is_stream
from .support_raw_faults import (
    DRIP,
    MILLION,
    PATIENCE,
    Shape,
    answer,
    as_answer,
    begun,
    bomb,
    call,
    choice,
    chunks,
    drip,
    endless,
    error_in,
    failing,
    good_body,
    head,
    many_calls,
    nested,
    packed,
    plain,
    raw_choice,
    redirect,
)

__all__ = ["ERROR_SHAPES", "SHAPES", "TIME_SHAPES"]

LARGE = 36
"""Millions of bytes: more than the longest answer."""
ZEROS = bomb(b"0" * MILLION, LARGE)
ZEROS_TWICE = gzip.compress(ZEROS)
EVENTS = bomb((b": nothing" * 100 + b"\n\n") * 1_100, LARGE)
LONG_NAME = b"\x1f\x8b\x08\x08" + b"\0" * 6 + b"n" * MILLION


SHAPES: list[Shape] = [
    # The first table of what was found, and relatives of each row.
    chunks(
        "predictions beside choices, and structured arguments",
        {**call({"x": 1}), "predictions": [{"y": 2}]},
        right="text",
    ),
    chunks("predictions beside choices", {**choice(content="Hello"), "predictions": [3]}, right="text"),
    answer(
        "structured arguments beside a number of 5,000 digits",
        raw_choice(f'"Hello","tool_calls":[{{"function":{{"name":"f","arguments":{{"x":1{"0" * 5000}}}}}}}]'),
        words="cannot be read",
    ),
    answer("a number of 5,000 digits", raw_choice(f'"Hello","x":{"9" * 5000}'), "either"),
    answer(
        "counts of 400 digits",
        raw_choice(f'"Hello"}},"x":1}}],"usage":{{"prompt_tokens":{"9" * 400}}},"z":[{{"z":{{"z":0'),
        "either",
    ),
    *(
        answer(f"an error nested {depth} deep", partial(error_in, text=f'{{"error":{nested(depth)}}}'))
        for depth in (30, 900, 5_000)
    ),
    answer("an error of nested lists", lambda form: error_in(form, f'{{"error":{nested(900, "[", "]")}}}')),
    answer(
        "an error whose message is nested",
        lambda form: error_in(form, f'{{"error":{{"code":400,"message":{nested(900)}}}}}'),
    ),
    answer(
        "metadata nested 900 deep",
        raw_choice(f'"Hello"}}}}],"system_fingerprint":{nested(900)},"z":[{{"z":{{"z":0'),
        "either",
    ),
    answer(
        "arguments nested 900 deep",
        lambda form: (data if is_stream(form) else plain)(as_answer(form, call(json.loads(nested(900))))),
        "either",
    ),
    answer(
        "arguments nested 900 deep, as text",
        lambda form: (data if is_stream(form) else plain)(as_answer(form, call(nested(900)))),
        "either",
    ),
    answer("content nested 100,000 deep", raw_choice(nested(100_000, "[", "]"))),
    answer("a sign NUL inside an event", raw_choice('"B\x00C"'), words="cannot be read"),
    answer(
        "a sign NUL between events", lambda form: b"\x00\n\n" * is_stream(form) + good_body(form), "either"
    ),
    answer("escaped control signs", raw_choice('"Hello\\u0000\\u001b[31m"'), "text"),
    answer("a vertical tab and a form feed inside", raw_choice('"B\x0bC\x0cD"'), words="cannot be read"),
    Shape(
        "a body longer than its Content-Length",
        lambda form: [head(form, length=len(begun(form))), begun(form) + good_body(form)],
    ),
    Shape(
        "a body shorter than its Content-Length",
        lambda form: [head(form, length=len(good_body(form)) + 9), begun(form)],
    ),
    Shape(
        "a Content-Length of 30 digits", lambda form: [head(form, f"content-length: {10**30}"), begun(form)]
    ),
    Shape(
        "a Content-Length that is no number", lambda form: [head(form, "content-length: x"), good_body(form)]
    ),
    Shape(
        "two Content-Lengths",
        lambda form: [head(form, "content-length: 5", "content-length: 6"), good_body(form)],
    ),
    Shape(
        "a chunk of a wrong size",
        lambda form: [head(form, "transfer-encoding: chunked"), b"zz\r\n" + good_body(form)],
    ),
    Shape(
        "a chunk size of 30 digits",
        lambda form: [head(form, "transfer-encoding: chunked"), b"f" * 30 + b"\r\n" + begun(form)],
    ),
    packed("a bomb", ZEROS, "gzip", words="(times its size|longer than)"),
    packed("a bomb in a bomb", ZEROS_TWICE, "gzip, gzip", words="(times its size|longer than)"),
    packed("a bomb of events", EVENTS, "gzip", words="(times its size|longer than)"),
    packed(
        "a bomb of deflate",
        bomb(b"0" * MILLION, LARGE, zlib.MAX_WBITS),
        "deflate",
        words="(times its size|longer than)",
    ),
    packed("a bomb in the head of gzip", gzip.compress(LONG_NAME) + gzip.compress(b"x"), "gzip, gzip"),
    packed("twenty encodings", b"x", ", ".join(["gzip"] * 20), words="was not asked for"),
    packed("an unknown encoding", b"x", "zz", words="was not asked for"),
    packed("an encoding that is not asked for", b"x", "br", words="was not asked for"),
    packed("bytes that are not gzip", b"x" * 100, "gzip"),
    Shape(
        "gzip", lambda form: [head(form, "content-encoding: gzip"), gzip.compress(good_body(form))], "text"
    ),
    Shape(
        "gzip in two members, and bytes behind them",
        lambda form: [
            head(form, "content-encoding: x-gzip"),
            gzip.compress(good_body(form)[:50]) + gzip.compress(good_body(form)[50:]) + b"more",
        ],
        "text",
    ),
    Shape(
        "deflate",
        lambda form: [head(form, "content-encoding: deflate"), zlib.compress(good_body(form))],
        "text",
    ),
    Shape(
        "deflate without its head",
        lambda form: [head(form, "content-encoding: deflate"), zlib.compress(good_body(form), wbits=-15)],
        "text",
    ),
    Shape(
        "gzip twice",
        lambda form: [
            head(form, "content-encoding: gzip,gzip"),
            gzip.compress(gzip.compress(good_body(form))),
        ],
        "text",
    ),
    Shape(
        "gzip that breaks off",
        lambda form: [head(form, "content-encoding: gzip"), gzip.compress(good_body(form))[:-60]],
    ),
    # Heads.
    Shape("a head of 1 MB", lambda form: [head(form, f"x: {'y' * MILLION}"), good_body(form)]),
    Shape("100,000 header lines", lambda form: [head(form, *["x: y"] * 100_000), good_body(form)]),
    Shape(
        "control signs in a header",
        lambda form: [head(form, "x-request-id: a\x1b[31m"), good_body(form)],
        "either",
    ),
    Shape(
        "a header of Latin-1 bytes",
        lambda form: [head(form, "x-request-id: \xe9\xff"), good_body(form)],
        "text",
    ),
    Shape(
        "a charset that is unknown",
        lambda form: [
            head(form)
            .replace(b"event-stream", b"event-stream; charset=zz")
            .replace(b"/json", b"/json; charset=zz"),
            good_body(form),
        ],
        "text",
    ),
    Shape(
        "an empty content type",
        lambda form: [b"HTTP/1.1 200 OK\r\ncontent-type: ;;;\r\nconnection: close\r\n\r\n", good_body(form)],
        "text",
    ),
    Shape("HTTP/9.9", lambda form: [b"HTTP/9.9 200 OK\r\n\r\n", good_body(form)], "either"),
    Shape("a status of 999", lambda form: [head(form, status="999 Odd"), b"odd"]),
    Shape("a status of 20 digits", lambda form: [head(form, status=f"{'2' * 20} OK"), b"odd"]),
    Shape("a status of 204", lambda form: [head(form, status="204 No Content")]),
    Shape(
        "a status of 101",
        lambda form: [b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", b"x"],
    ),
    Shape("no bytes at all", lambda _: []),
    Shape("a TLS alert", lambda _: [b"\x15\x03\x01\x00\x02\x02\x28"]),
    # Bodies.
    answer("one letter", lambda _: b"x"),
    answer("only blanks", lambda _: b" \n\n " * 100),
    answer("a list of lists", lambda form: error_in(form, nested(900, "[", "]"))),
    answer("a JSON string", lambda form: error_in(form, '"x"')),
    answer("NaN", lambda form: error_in(form, "NaN")),
    answer("1e999 as the content", raw_choice("1e999"), "either"),
    answer("lone surrogates", raw_choice('"\\ud83d Hello \\ude80"'), "text"),
    answer(
        "bytes that are not UTF-8", lambda form: good_body(form).replace(b"Hello", b"H\xff\xfeo"), "either"
    ),
    answer("a byte order mark", lambda form: b"\xef\xbb\xbf" + good_body(form), "text"),
    answer("UTF-16", lambda form: good_body(form).decode().encode("utf-16")),
    chunks(
        "two choices mixed",
        {"choices": [{"index": 1, "delta": {"content": "No"}}, *choice(content="Hello")["choices"]]},
        right="text",
    ),
    chunks(
        "an unknown finish reason with a line's end",
        {"choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": "x\ny" * 1000}]},
        right="text",
    ),
    chunks(
        "an aborted answer whose reason forges a line",
        {
            "choices": [{"index": 0, "delta": {}, "finish_reason": "abort"}],
            "error": "a\nERROR root: forged\x1b[2J",
        },
    ),
    answer(
        "5,000 empty deltas",
        lambda form: (
            data(choice(content="")).replace(b"stop", b"") * (5_000 if is_stream(form) else 0)
            + good_body(form)
        ),
        "text",
    ),
    answer(
        "a line without an end",
        lambda form: b"data: " * is_stream(form) + b"x" * LARGE * MILLION,
        words="longer than",
    ),
    answer(
        "lines without a blank one",
        lambda form: b"data: x\n" * (LARGE * MILLION // 8),
        words="longer than|cannot be read",
    ),
    answer(
        "a field without a name, 2 MB",
        lambda form: b":" * 2 * MILLION + b"\n\n" * is_stream(form) + good_body(form) * is_stream(form),
        "either",
    ),
    answer("2,000 calls without an id", lambda form: many_calls(form, 2_000), "text"),
]
"""Answers with a status of 200, and heads."""

_HOLES = {
    "opening": "<",
    "a script": "<script",
    "a whole script": "<script>",
    "a comment": "<!--",
    "a tag": "a <",
    "a tag's end": "</script ",
    "an attribute": "<a b='",
    "quotes": '"<',
    "blanks": " <  ",
}
_FORGED = "no\r\nERROR root: forged\x1b[2J\u2028more\u202e\x00\x85 \ud83d"

ERROR_SHAPES: list[Shape] = [
    *(failing(f"a page of {name}", sign.encode() * (100_000 // len(sign))) for name, sign in _HOLES.items()),
    failing("a page of gateways", b"<h1>502 Bad Gateway</h1>" * 4_000, status="502 Bad Gateway"),
    *(
        failing(f"Retry-After: {name}", b"{}", f"retry-after: {value}", status="503 Busy")
        for name, value in {
            "20 digits": "9" * 20,
            "5,000 digits": "9" * 5000,
            "1e999": "1e999",
            "nan": "nan",
            "-inf": "-inf",
            "a date in the year 9999": "Fri, 31 Dec 9999 23:59:59 GMT",
            "a date of 20 digits": f"Fri, 31 Dec {'9' * 20} 23:59:59 GMT",
            "a zone of 20 digits": f"Fri, 31 Dec 2027 23:59:59 +{'9' * 20}",
            "a zone of a day": "Fri, 31 Dec 2027 23:59:59 +9999",
            "the 99th": "99 99 9999 99:99:99",
            "commas": "," * 5000,
            "Latin-1": "\xb2\xb3",
        }.items()
    ),
    *(
        failing(
            f"a retryDelay of {value[:9]}",
            json.dumps(
                {"error": {"code": 429, "message": "no", "details": [{"retryDelay": value}]}}
            ).encode(),
            status="429 No",
        )
        for value in ("9" * 30 + "s", "1e999s", "-1s", "nans", "s", "\u0663s")
    ),
    failing(
        "a retryDelay that is no text",
        b'{"error":{"code":429,"details":[{"retryDelay":{"seconds":9}},3,null]}}',
        status="429 No",
    ),
    *(
        Shape(f"a redirect to {name}", partial(redirect, to=to))
        for name, to in {
            "no URL": "http://[::1",
            "a broken port": "http://a:99999999/",
            "no IDNA name": "http://xn--\xff\xfe.a/",
            "a long label": f"http://{'a' * 80}.com/",
            "a zone": "http://[fe80::1%25eth0]/",
            "70 KB": "http://a/" + "b" * 70_000,
            "a script": "javascript:alert(1)",
            "a file": "file:///etc/passwd",
            "nothing": "",
            "a name with a password": "http://u:p@evil.example/?key=1",
            "another server": "http://127.0.0.1:9/",
        }.items()
    ),
    *(
        failing(f"an error nested {depth} deep", f'{{"error":{nested(depth)}}}'.encode())
        for depth in (30, 900, 100_000)
    ),
    failing(
        "a detail nested 900 deep",
        f'{{"error":{{"code":400,"message":"no","details":[{nested(900)}]}}}}'.encode(),
    ),
    failing("a list nested 900 deep", nested(900, "[", "]").encode()),
    failing("a message of 3 MB", json.dumps({"error": {"message": "no " * MILLION, "code": 400}}).encode()),
    failing("a message of 200 KB", json.dumps({"error": {"message": "no " * 66_000, "code": 400}}).encode()),
    failing("a code of 200 KB", json.dumps({"error": {"message": "no", "status": "X" * 200_000}}).encode()),
    failing(
        "details of 200 KB", json.dumps({"error": {"message": "no", "details": ["X" * 200_000]}}).encode()
    ),
    failing("40,000 details", json.dumps({"error": {"message": "no", "details": [[]] * 40_000}}).encode()),
    failing(
        "a message that forges a line",
        json.dumps({"error": {"message": _FORGED, "status": _FORGED}}).encode(),
    ),
    failing(
        "a flat message that forges a line",
        json.dumps({"object": "error", "message": _FORGED, "code": 400}).encode(),
    ),
    failing("an error text that forges a line", json.dumps({"error": _FORGED}).encode()),
    failing("a detail that forges a line", json.dumps({"detail": _FORGED}).encode()),
    failing("a page that forges a line", b"<p>no\r\nERROR root: forged\x1b[2J\x00"),
    failing("an id that forges a line", b"{}", "x-request-id: a\x7f\x85" + "b" * 5_000),
    Shape(
        "a header with a vertical tab",
        lambda form: [head(form, "x-request-id: a\x0b", status="400 No")],
        "either",
    ),
    failing("a number of 5,000 digits", b'{"error":{"code":' + b"9" * 5000 + b',"message":"no"}}'),
    failing("Arabic digits as a status", '{"error":{"code":"٤٠٤","message":"no"}}'.encode()),
    failing("superscript digits as a status", '{"error":{"code":"²²²","message":"no"}}'.encode()),
    failing("keys that are lone surrogates", b'{"error":{"\\ud800":1}}'),
    failing("UTF-16", '{"error":{"message":"no"}}'.encode("utf-16")),
    failing("a bomb", ZEROS, "content-encoding: gzip"),
    failing("a bomb in a bomb", ZEROS_TWICE, "content-encoding: gzip, gzip", status="500 No"),
    failing("no gzip", b"no", "content-encoding: gzip"),
    failing("an unknown encoding", b"no", "content-encoding: zz"),
    Shape("a body that breaks off", lambda form: [head(form, status="400 No", length=99), b'{"error"']),
    *(
        failing(f"a status of {status}", b"no", status=f"{status} No")
        for status in (300, 304, 305, 401, 402, 407, 418, 421, 451, 499, 511, 599, 600)
    ),
]
"""Answers with another status."""

TIME_SHAPES: list[Shape] = [
    Shape("a head that drips", lambda form: drip(head(form, *["x: y"] * 500))),
    Shape(
        "a head without an end", lambda form: itertools.chain([head(form)[:-2]], endless(b"x: y\r\n", DRIP))
    ),
    Shape("a status line that drips", lambda _: itertools.chain([b"HTTP/1.1 200 "], endless(b"O", DRIP))),
    Shape("endless 1xx, fast", lambda _: endless(b"HTTP/1.1 102 Processing\r\n\r\n" * 100)),
    Shape("endless 1xx, slow", lambda _: endless(b"HTTP/1.1 103 Early Hints\r\n\r\n", DRIP)),
    Shape("endless 100, slow", lambda _: endless(b"HTTP/1.1 100 Continue\r\n\r\n", DRIP)),
    Shape(
        "a body that drips", lambda form: itertools.chain([head(form)], drip(begun(form)[:-2] + b"x" * 2000))
    ),
    Shape(
        "a chunked body that drips",
        lambda form: itertools.chain(
            [head(form, "transfer-encoding: chunked")], endless(b"1\r\nx\r\n", DRIP)
        ),
    ),
    Shape(
        "a chunk size that drips",
        lambda form: itertools.chain([head(form, "transfer-encoding: chunked")], endless(b"0", DRIP)),
    ),
    Shape(
        "a chunk extension that drips",
        lambda form: itertools.chain([head(form, "transfer-encoding: chunked"), b"1;"], endless(b"x", DRIP)),
    ),
    Shape(
        "a compressed body that drips",
        lambda form: itertools.chain(
            [head(form, "content-encoding: gzip"), gzip.compress(b"x")[:10]], endless(b"\0", DRIP)
        ),
    ),
    Shape(
        "a compressed body of blank blocks",
        lambda form: itertools.chain(
            [head(form, "content-encoding: gzip"), gzip.compress(b"")[:10]], endless(b"\0\0\0\xff\xff", DRIP)
        ),
    ),
    Shape(
        "an error body that drips",
        lambda form: itertools.chain([head(form, status="400 No")], drip(b"no " * 2000)),
    ),
    Shape(
        "an error body of lines that drip",
        lambda form: itertools.chain([head(form, status="400 No")], endless(b"no\n", DRIP)),
    ),
    Shape(
        "an error body without an end",
        lambda form: itertools.chain([head(form, status="500 No")], endless(b"no " * 20_000)),
    ),
    Shape(
        "a redirect that drips",
        lambda form: itertools.chain([head(form, "location: /", status="302 No")], drip(b"no " * 2000)),
    ),
    Shape("silence before the head", lambda _: [PATIENCE]),
    Shape("silence in the head", lambda form: [head(form)[:20], PATIENCE]),
    Shape("silence after the head", lambda form: [head(form), PATIENCE]),
    Shape("silence in the body", lambda form: [head(form), begun(form), PATIENCE]),
    Shape("silence in an error", lambda form: [head(form, status="400 No"), b"no", PATIENCE]),
]
"""What lasts too long: cut by the clock."""
