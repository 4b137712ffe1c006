"""How the workbench looks: the palette shared by views and charts, the style sheet of views, and a page to put them on.

The colours can be told apart by colour-blind readers. Light and dark themes follow JupyterLab's variables (`--jp-*`)
where there are any, and the browser's setting else. A page asks nothing of any other host.

    >>> colour("de"), colour("en")
    ('#0072B2', '#808080')
"""

import html

from cslab.languages import LANGUAGES, MIXED, is_pool

# Okabe and Ito's colours, then Tol's muted ones; languages that often stand together are far apart.
PALETTE = ("#0072B2", "#009E73", "#D55E00", "#E69F00", "#CC79A7", "#56B4E9", "#999933", "#AA4499", "#44AA99", "#CC6677")
GREY = "#808080"
_FIRST = ("de", "it", "ru", "ar", "nl", "fr", "es", "pt")
_ORDER = (*_FIRST, *sorted(set(LANGUAGES) - {*_FIRST, "en"}))

STYLE = """<style>
.cslab{color:var(--jp-content-font-color1,inherit);font:14px/1.55 var(--jp-content-font-family,system-ui,sans-serif);
 margin:.3em 0;text-align:start}
.cslab .cs-head{font-weight:600;margin:.2em 0 .35em}
.cslab .cs-text{padding:.5em .8em;border:1px solid var(--jp-border-color2,#8885);border-radius:6px;line-height:2.1;
 white-space:pre-wrap;overflow-wrap:anywhere}
.cslab .cs-s{border-radius:3px 3px 0 0;padding:.12em .2em;cursor:help;-webkit-box-decoration-break:clone;
 box-decoration-break:clone}
.cslab .cs-s::after{content:attr(data-code);font-size:.68em;opacity:.75;margin-inline-start:.25em;vertical-align:.35em}
.cslab .cs-key{display:flex;flex-wrap:wrap;gap:.3em 1em;font-size:.88em;margin:.4em 0}
.cslab .cs-swatch{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-inline-end:.35em}
.cslab .cs-muted{opacity:.75;font-size:.88em}
.cslab .cs-columns{display:flex;flex-wrap:wrap;gap:.8em;align-items:flex-start}
.cslab .cs-columns>div{flex:1 1 20em;min-width:0}
.cslab table{border-collapse:collapse;margin:.3em 0;font-size:.93em;width:auto;color:inherit}
.cslab .cs-wide table,.cslab table.cs-wide{width:100%}
.cslab caption{text-align:start;font-weight:600;padding:.2em 0 .4em;caption-side:top;color:inherit}
.cslab th,.cslab td{padding:.28em .7em;border-bottom:1px solid var(--jp-border-color2,#8884);text-align:start;
 vertical-align:top;background:none}
.cslab td.cs-n,.cslab th.cs-n{text-align:end;font-variant-numeric:tabular-nums;white-space:nowrap}
.cslab td.cs-name{white-space:nowrap;width:1%}
.cslab .cs-best{font-weight:700}
.cslab tr.cs-rel td{background:#009e7322}
.cslab tr.cs-rel td:first-child{box-shadow:inset 4px 0 #009E73}
.cslab .cs-tag{border:1px solid currentColor;border-radius:3px;padding:0 .35em;font-size:.78em;white-space:nowrap}
.cslab .cs-bar{position:relative;display:block;min-width:9em;height:1em;margin-top:.25em;background:#8883;
 border-radius:3px;overflow:hidden}
.cslab .cs-bar>i{position:absolute;inset-block:0;inset-inline-start:0;border-radius:3px}
.cslab .cs-link{border-bottom:2px dotted #D55E00;cursor:help}
.cslab .cs-contrast,.cslab .cs-scroll{overflow-x:auto}
.cslab .cs-contrast>div{display:grid;grid-template-columns:minmax(17em,1fr) 64px minmax(17em,1fr);min-width:40em}
.cslab .cs-side>div{box-sizing:border-box;padding:.3em .5em;border-bottom:1px solid var(--jp-border-color2,#8884)}
.cslab .cs-top{font-weight:600;height:3.6em;overflow:hidden}
.cslab .cs-top .cs-muted{font-weight:400;display:block}
.cslab .cs-row{display:grid;grid-template-columns:2.2em 1fr auto;gap:.4em;height:96px;overflow:hidden}
.cslab .cs-row.cs-rel{background:#009e7322;box-shadow:inset 4px 0 #009E73}
.cslab .cs-row .cs-n{text-align:end;font-variant-numeric:tabular-nums;white-space:nowrap;font-size:.9em}
.cslab .cs-doc{align-self:start;display:-webkit-box;-webkit-line-clamp:4;-webkit-box-orient:vertical;overflow:hidden;
 line-height:1.4;overflow-wrap:anywhere}
.cslab .cs-lines{fill:none;stroke:currentColor}
.cslab .cs-stack{display:flex;height:1.35em;min-width:16em;border-radius:3px;overflow:hidden}
.cslab .cs-stack>i{color:#000;font-style:normal;font-size:.8em;line-height:1.7em;text-align:center;overflow:hidden;
 white-space:nowrap}
.cslab details>summary{cursor:pointer;padding:.15em 0}
.cslab details[open]>summary{font-weight:600}
.cslab details .cs-list{margin:.2em 0 .6em;padding-inline-start:1.4em}
.cslab .cs-note{border-inline-start:4px solid #56B4E9;padding:.4em .8em;background:#56b4e91f}
.cslab .cs-note.cs-warning{border-color:#E69F00;background:#e69f001f}
.cslab .cs-note.cs-error{border-color:#D55E00;background:#d55e001f}
</style>"""

PAGE_STYLE = """<style>
:root{color-scheme:light dark;--cs-paper:#fff;--cs-ink:#1b1b1b;--cs-card:#f6f6f4;--cs-line:#8884;--cs-link:#0b62a3}
@media (prefers-color-scheme:dark){
 :root{--cs-paper:#16181c;--cs-ink:#e4e4e0;--cs-card:#20242b;--cs-line:#8886;--cs-link:#7cc0f4}}
body{margin:0;background:var(--cs-paper);color:var(--cs-ink);font:15px/1.55 system-ui,"DejaVu Sans",sans-serif}
main{max-width:62rem;margin:0 auto;padding:1.2rem 1.2rem 4rem}
a{color:var(--cs-link)}
h1{font-size:1.7rem;line-height:1.2;margin:.6em 0 .3em}h2{font-size:1.25rem;margin:1.6em 0 .4em}h3{font-size:1.05rem}
code,pre{font:13px/1.45 ui-monospace,"DejaVu Sans Mono",monospace}
pre{background:var(--cs-card);border-radius:6px;padding:.6em .8em;overflow:auto;max-height:32rem;margin:.4em 0}
table{border-collapse:collapse}th,td{padding:.28em .7em;border-bottom:1px solid var(--cs-line);text-align:start}
figure{margin:1em 0}figure img,.output_png img{max-width:100%;height:auto;background:#fff;border-radius:6px}
figcaption,.cs-caption{font-size:.88em;opacity:.8;margin:.2em 0 .8em;max-width:46rem}
.cs-ok{color:#00845f}.cs-bad{color:#c44f00}
@media (prefers-color-scheme:dark){.cs-ok{color:#3ecfa3}.cs-bad{color:#ff9a5c}}
.cs-code>summary,.cs-view>summary,.cslab>summary{cursor:pointer;font-size:.88em;opacity:.8}
.cs-code{margin:.3em 0}.cs-view{margin:.6em 0}.cs-found li{margin:.3em 0}
.output_html,.output_html .cslab{overflow-x:auto}
.input_area pre{border-inline-start:3px solid #56B4E9}
.output_stdout pre,.output_text pre{background:none;border:1px solid var(--cs-line);white-space:pre-wrap}
.output_stderr pre{background:#e69f001f;white-space:pre-wrap}
.output_error pre{background:#d55e001f;white-space:pre-wrap}
.dataframe,.dataframe th,.dataframe td{border:0;border-bottom:1px solid var(--cs-line)}
.dataframe{font-size:.93em;margin:.4em 0;white-space:nowrap}
.dataframe th,.dataframe td{text-align:end;font-variant-numeric:tabular-nums}
.ansi-red-fg,.ansi-red-intense-fg{color:#c44f00}.ansi-green-fg,.ansi-green-intense-fg{color:#00845f}
.ansi-blue-fg,.ansi-cyan-fg{color:var(--cs-link)}.ansi-bold{font-weight:700}
.anchor-link{display:none}
.highlight .k,.highlight .kn,.highlight .ow,.highlight .kc{color:#a5318a;font-weight:600}
.highlight .s1,.highlight .s2,.highlight .sa,.highlight .sd,.highlight .si{color:#a04b00}
.highlight .c1{opacity:.65;font-style:italic}.highlight .mi,.highlight .mf{color:#00776a}
@media (prefers-color-scheme:dark){
 .highlight .k,.highlight .kn,.highlight .ow,.highlight .kc{color:#e58bd0}
 .highlight .s1,.highlight .s2,.highlight .sa,.highlight .sd,.highlight .si{color:#f0b27a}
 .highlight .mi,.highlight .mf{color:#5fd3c1}}
</style>"""


def escape(text: object) -> str:
    """Text with everything escaped that HTML gives a meaning, quotes included."""
    return html.escape(str(text), quote=True)


def colour(code: str) -> str:
    """The colour of a language, the same in every view and chart; grey for English and for pools."""
    if code == "en" or is_pool(code):
        return GREY
    # A code that is registered later gets a stable colour, too.
    return PALETTE[(_ORDER.index(code) if code in _ORDER else sum(map(ord, code))) % len(PALETTE)]


def language_name(code: str) -> str:
    """The English name of a language, `many languages` for a pool, the code itself where it is not registered."""
    if is_pool(code):
        return f"{code.removeprefix(MIXED) or 'many'} languages"
    return LANGUAGES[code].name if code in LANGUAGES else code


def page(title: str, body: str, lang: str = "en") -> str:
    """A whole document around the HTML of views; it opens from disk without a network."""
    body = body.replace(STYLE, "")
    return (
        f'<!DOCTYPE html>\n<html lang="{escape(lang)}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title>{PAGE_STYLE}{STYLE}</head>\n<body><main>{body}</main></body></html>\n"
    )
