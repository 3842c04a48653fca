#!/usr/bin/env python3
"""Writes snippets.jsonl: what jinja2, set up as transformers sets it up for chat templates, makes of small templates.

Each line: template, and text, or failed: true where jinja2 raises. The context is CONTEXT, which is the first line.
"""
import copy
import json
import pathlib

from transformers.utils import chat_template_utils

CONTEXT = {
    "s": " Hello World ", "u": "Héllo 日本 🙂\u2003", "lines": "one\ntwo\r\n\n  three\n", "csv": "a,b,,c",
    "i": 7, "n": -3, "f": 2.5, "yes": True, "no": False, "nothing": None,
    "l": [3, 1, 2], "words": ["b", "A", "c", "a"], "mixed": [1, "a", None, 2.5, True], "nested": [[1, 2], [3, [4]]],
    "d": {"k": "v", "n": 1, "items": "x", "x y": [1]},
    "m": [{"role": "user", "content": "hi", "n": 2}, {"role": "assistant", "content": "yo", "n": 1}, {"role": "tool"}],
}

EXPRESSIONS = r"""
1 + 2 * 3 - 4 / 2
7 // 2 ~ -7 // 2 ~ 7 % -3 ~ -7 % 3
2 ** 3 ** 2
-2 ** 2
2 ** -1
0.1 + 0.2
1e16 ~ 1e15 ~ 1.5e-5 ~ 0.0001
7.5 // 2 ~ -7.5 % 2
1 == 1.0 == true
1 < i <= 7 != 8
'a' < 'b' < 'B'
[1, 2] < [1, 3]
1 in l and 5 not in l
'ell' in s
not yes or no and nothing
nothing or 'x'
'' and 'x'
'a' if no
('a' if no) is undefined
'a' ~ 1 ~ none ~ 2.0 ~ true ~ [1, 'b'] ~ {'k': (1,)}
l[0] ~ l[-1] ~ l[5] ~ l['x']
l[::-1] ~ l[1:] ~ l[:-1] ~ l[::2] ~ l[5:]
s[1:6] ~ s[-2] ~ u[::-1] ~ u[1] ~ u[6:8]
(1, 2, 3)[::-2]
range(10)[2:8:3]
d.k ~ d['k'] ~ d.zz ~ d.n
d['items'] ~ (d.items is callable)
d.items()
d.keys() ~ d.values()
d.get('k') ~ d.get('z') ~ d.get('z', 4)
m[0].role.upper()
undef
undef.x
undef is defined
undef == undef2
undef == none
undef ~ 'x'
undef + 'x'
undef[0]
undef|length
mixed|repr
[1.0, 'it\'s', "say \"x\"", '\n\t\x00é\u2003'] ~ ''
{1: 2, 'a': [none, true]}
()
(1,)
[[]]
range(3) ~ range(1, 9, 3)
'%s is %d and %5.1f|' % ('a', 3, 2.25)
'%05d|%-4s|%+d%%' % (42, 'ab', 7)
'%r' % 'x'
'{} {1}'
'{} {} {{}}'.format(1, 'a')
'{0}{1}{0} {x!r}'.format('a', 2, x='b')
'ab' * 3 ~ [1] * 2
[1] + [2]
'a' + 1
1 + none
[1] + (2,)
l.append(4)
d.update({'a': 1})
l.append is defined
s.__class__
s._x
1 / 0
s.strip() ~ '|' ~ s.lstrip() ~ '|' ~ s.rstrip() ~ '|' ~ s.strip(' Hd')
csv.split(',')
csv.split(',', 1)
csv.rsplit(',', 1)
s.split()
s.split('o')[-1]
' a  b c '.split(none, 1)
' a  b c '.rsplit(none, 1)
lines.splitlines()
lines.splitlines(true)
s.partition('o')
s.rpartition('o')
s.partition('zz')
s.startswith(' H') ~ s.endswith(('x', ' ')) ~ s.startswith('W', 7)
s.find('o') ~ s.rfind('o') ~ s.find('z') ~ u.find('日')
s.index('z')
s.count('o') ~ 'aaa'.count('aa') ~ 'ab'.count('')
s.replace('o', '0') ~ s.replace('o', '0', 1) ~ 'abc'.replace('', '-')
'-'.join(words)
'-'.join(l)
u.upper() ~ u.lower() ~ 'straße'.upper()
s.title() ~ 'o\'neil x-y'.title()
'hELLO wORLD'.capitalize() ~ 'éa'.capitalize()
'ab'.center(7, '*') ~ 'ab'.ljust(4) ~ 'ab'.rjust(4, '.') ~ '-7'.zfill(4)
'12'.isdigit() ~ 'a1'.isalnum() ~ ''.isalpha() ~ ' '.isspace() ~ 'Ab'.islower()
'prefix-x'.removeprefix('prefix-').removesuffix('x')
s|trim
s|trim(' H')
none|trim
5|upper
u|length
'abc'|first ~ l|last
[]|first
u|reverse
l|reverse|list
l|sort
words|sort
words|sort(true, true)
m|sort(attribute='role')|map(attribute='role')|list
words|unique|list
l|join('-')
mixed|join
m|map(attribute='role')|join(', ')
m|map(attribute='n', default='?')|list
words|map('upper')|list
m|selectattr('role', 'equalto', 'user')|list
m|rejectattr('content', 'defined')|list
l|select('odd')|list
mixed|reject('none')|list
mixed|select|list
mixed|select('string')|list
l|max ~ l|min ~ l|sum
m|selectattr('n')|sum(attribute='n')
-7.5|abs
2.5|round ~ 3.5|round
2.675|round(2)
2.1|round(0, 'ceil')
'42'|int ~ '4.9'|int ~ 'x'|int ~ 'x'|int(-1) ~ 3.9|int ~ ' 1_0 '|int
'2.5'|float ~ 'x'|float ~ 'inf'|float
true|int
nothing|default('x') ~ undef|default('x') ~ ''|default('y', true) ~ undef|d(1)
d|tojson
mixed|tojson
nested|tojson(indent=2)
{'é': '日"\\\n\x01'}|tojson
{'é': '🙂'}|tojson(ensure_ascii=true)
{'b': 1, 'a': 2}|tojson(sort_keys=true)
[1, 2]|tojson(separators=(',', ':'))
{}|tojson(indent=1)
{1: none, true: 0.5}|tojson
undef|tojson
d|items|list
d|dictsort
d|length
l|batch(2)|list
l|batch(2, 0)|list
lines|indent
lines|indent(2, true)
lines|indent('> ', blank=true)
'a b c d'|truncate(5, leeway=0)
'a b c d'|truncate(6, true, '..', 0)
'ab'|center(6)
'<a> & "b"'|e
('<'|safe) + '<'
'x'|string
('a', 'b')|list
'ab'|list
d|list
'a-b (c) d'|title
'ÀB'|lower
'%s-%s'|format(1, 'x')
l|slice(2)|list
undef|list
undef|join('x')
none|length
5|join
i is odd ~ i is even ~ i is divisibleby 7 ~ i is integer ~ f is float ~ i is number ~ yes is number
s is string ~ l is iterable ~ l is sequence ~ d is mapping ~ d is sequence ~ undef is sequence
nothing is none ~ nothing is not none ~ yes is true ~ 1 is true ~ no is false
'a' is in 'abc' ~ 1 is in l ~ (3 is in(l))
i is eq 7 ~ i is gt 3 ~ i is lessthan(3) ~ i is ne(7)
'x' is upper ~ 'X' is upper ~ 'x' is lower
raise_exception is callable ~ s is callable
'upper' is filter ~ 'zzz' is filter ~ 'odd' is test
nothing is sameas none
dict(a=1, b=2) ~ dict([('x', 1)])
namespace(a=1).a ~ namespace(a=1).b
range(5)|list
range(5, 0, -2)|list
range(200000)|length
l|zzz
i is zzz
true if yes else l|zzz
9223372036854775807 + 0
1_000 ~ 0x1F ~ 0b11 ~ 0o17
'a' 'b'
1.5.x
[1, 2,][1]
{'a': 1,}['a']
(l)(0)
'abc'[1.0]
l[true]
d[[1]]
l[1:'a']
5[0]
true + true
none + 1
not none
-true ~ +2
""".strip().splitlines()

STATEMENTS = [
    "{% if yes %}a{% elif no %}b{% else %}c{% endif %}", "{% if no %}a{% elif i > 5 %}b{% else %}c{% endif %}",
    "{% for x in l %}{{ x }}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.first }}{{ loop.last }}{{ loop.length }};{% endfor %}",
    "{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }}{{ loop.cycle('a', 'b') }}{{ loop.changed(x > 1) }};{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k, (a, b) in [(1, (2, 3))] %}{{ k }}{{ a }}{{ b }}{% endfor %}",
    "{% for x in l if x > 1 %}{{ loop.index }}{{ x }}{{ loop.length }}{% else %}none{% endfor %}", "{% for x in l if x > 9 %}{{ x }}{% else %}none{% endfor %}",
    "{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}", "{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in l %}{% continue %}{% else %}else{% endfor %}", "{% for x in undef %}a{% else %}b{% endfor %}", "{% for x in 5 %}{% endfor %}",
    "{% for a, b in [[1]] %}{% endfor %}", "{% for x in l %}{% for y in words %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}",
    "{% set x = 1 %}{% for y in l %}{% set x = x + y %}{{ x }},{% endfor %}{{ x }}", "{% set x = 1 %}{% if yes %}{% set x = 2 %}{% endif %}{{ x }}",
    "{% for y in l %}{% if loop.first %}{% set z = y %}{% endif %}{{ z }},{% endfor %}{{ z }}", "{% for s in l %}{{ s }}{% endfor %}{{ s }}",
    "{% set ns = namespace(n=0) %}{% for y in l %}{% set ns.n = ns.n + y %}{% endfor %}{{ ns.n }}{{ ns }}", "{% set d.k = 1 %}", "{% set undef.k = 1 %}",
    "{% set ns = namespace(seen=false) %}{% for x in l if not ns.seen %}{{ x }}{% set ns.seen = true %}{% endfor %}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a, b = l %}", "{% set ns = namespace() %}{% set ns.a, b = 'xy' %}{{ ns.a }}{{ b }}",
    "{% set x %}a{{ i }}{% endset %}{{ x }}{{ x|length }}", "{% set x | upper %}abc{% endset %}{{ x }}", "{% set x %}{% set y = 5 %}{% endset %}{{ y }}",
    "{% macro f(a, b=2, c=a) %}<{{ a }}{{ b }}{{ c }}>{% endmacro %}{{ f(1) }}{{ f(1, c=3) }}{{ f() }}", "{% macro f() %}{{ i }}{% endmacro %}{% set i = 8 %}{{ f() }}",
    "{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}", "{% macro f(a) %}{% endmacro %}{{ f(b=2) }}", "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}",
    "{% macro f() %}[{{ caller() }}]{% endmacro %}{% call f() %}x{{ i }}{% endcall %}", "{% macro f() %}[{{ caller('q') }}]{% endmacro %}{% call(z) f() %}{{ z }}{% endcall %}",
    "{% for x in l %}{% macro f() %}{{ x }}{% endmacro %}{{ f() }}{% endfor %}", "{% with a = 1, b = i %}{{ a }}{{ b }}{% set a = 3 %}{{ a }}{% endwith %}{{ a }}",
    "{% filter upper %}a{{ s }}{% endfilter %}", "{% raw %}{{ x }}{% if %}{% endraw %}", "a{# {{ x }} #}b", "{% generation %}a{{ i }}{% endgeneration %}",
    "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}",
    # white space
    "a\n{% if yes %}\nb\n{% endif %}\nc\n", "a\n  {% if yes %}  \n  b\n  {% endif %}  \nc", "a \n {%- if yes -%} \n b \n {%- endif -%} \n c",
    "a\n  {%+ if yes +%}\n  b {%+ endif +%}\n c", "a\n  {{ i }}\n  {{- i -}}  \n b", "  {# c #}\n  {#- c -#}\n x", "  {# c +#}\n x", "x\n\n", "x\r\ny\rz\n",
    "{% for x in l %}\n  {{ x }}\n{% endfor %}\n", "\n\n  {% raw %}\n  a\n  {% endraw %}\n b", "{%- raw -%}\n a \n{%- endraw -%}\n b", "a\u2003{%- if yes %}b{% endif %}", "{{ '{%' }}{{ \"}}\" }}",
    "{{- '\n' }}  {{- i }}", "a {%- set x = 1 -%} b", " {% if yes %}  {% endif %} x", "x {% if yes %}\n{% endif %}\n{% if yes %}y{% endif %}\n",
    # refused by jinja2
    "{% endif %}", "{% if %}", "{{ }}", "{% for x l %}{% endfor %}", "{{ 1 +", "{% frobnicate %}", "{{ 'a }}", "{{ [1 }}", "{% break %}", "{% set none = 1 %}", "{{ a is b is c }}", "{{ f(a=1, 2) }}", "{% raw %}", "{# x", "{{ 1 if }}", "{% for loop in l %}{% endfor %}",
]


def main():
    with open(pathlib.Path(__file__).parent / "snippets.jsonl", "w", encoding="utf-8") as out:
        out.write(json.dumps(CONTEXT, ensure_ascii=False) + "\n")
        for template in ["{{ " + e + " }}" for e in EXPRESSIONS] + STATEMENTS:
            result = {"template": template}
            try:
                compiled = chat_template_utils._compile_jinja_template(template)
                result["text"] = compiled.render(**copy.deepcopy(CONTEXT))
            except Exception:
                result["failed"] = True
            out.write(json.dumps(result, ensure_ascii=False) + "\n")


main()
