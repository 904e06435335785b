"""The style of the report's page: light and dark, wide and narrow."""

from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --ink: #1c2430; --soft: #5b6675; --line: #dfe3e9;
  --up: #2e9e5b; --degraded: #d99a0b; --starting: #4a86d8; --down: #d0342c; --stopped: #9aa4b1; --unobserved: #c9d0d8;
  --detect: #8e5bd0; --end: #d0342c; --delay: #d99a0b; --start: #4a86d8; }
@media (prefers-color-scheme: dark) { :root { --page: #12161c; --card: #1b212a; --ink: #e6eaf0; --soft: #9aa6b5;
  --line: #303947; --up: #3fb96f; --degraded: #e0a92e; --starting: #6ba3ec; --down: #f0605a; --stopped: #6b7685;
  --unobserved: #3d4756; --detect: #ab82e6; --end: #f0605a; --delay: #e0a92e; --start: #6ba3ec; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.45 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1rem; }
h1 { margin: .5rem 0 0; font-size: 1.5rem; } h2 { margin: 0; font-size: 1.15rem; }
.soft, dt, th, figcaption, footer { color: var(--soft); } .soft, footer, figcaption { font-size: .875rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem; margin: 1rem 0; }
.head { display: flex; flex-wrap: wrap; align-items: baseline; gap: .2rem .75rem; }
.head .share { margin-left: auto; font-size: 1.35rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.system .head .share { font-size: 2.2rem; }
.row { display: grid; grid-template-columns: 7rem 1fr 5.5rem; gap: .75rem; align-items: center; margin: .35rem 0; }
.row > :first-child { overflow-wrap: anywhere; }
.row > :last-child { text-align: right; font-variant-numeric: tabular-nums; }
svg { display: block; width: 100%; } .bar { height: 1.6rem; } .system .bar, .whole .bar { height: 2.4rem; }
.stacked { height: .8rem; border-radius: .2rem; } .whiskers { height: 1.6rem; overflow: visible; }
.axis { position: relative; height: 1.2rem; } .axis span { position: absolute; transform: translateX(-50%); }
.axis span:first-child { transform: none; } .axis span:last-child { transform: translateX(-100%); }
.several > .whole, .several > .times { padding: 0 6.25rem 0 7.75rem; }
.several > .legend { margin-bottom: .75rem; padding-left: 7.75rem; }
.times { display: flex; justify-content: space-between; }
.up { fill: var(--up); } .degraded { fill: var(--degraded); } .starting { fill: var(--starting); }
.down { fill: var(--down); } .stopped { fill: var(--stopped); } .unobserved { fill: var(--unobserved); }
.detect { fill: var(--detect); } .end { fill: var(--end); } .delay { fill: var(--delay); }
.start { fill: var(--start); }
.rest { fill: var(--line); } .grid { stroke: var(--line); }
.whisker { stroke: var(--soft); fill: none; stroke-width: 2; vector-effect: non-scaling-stroke; }
.grid { vector-effect: non-scaling-stroke; }
.dot { stroke: var(--starting); stroke-width: 5; vector-effect: non-scaling-stroke; stroke-linecap: round; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1rem; padding: 0; margin: .5rem 0 0; list-style: none; }
.legend svg { display: inline-block; width: .75rem; height: .75rem; margin-right: .4rem; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; margin: 1rem 0 0; }
dt { font-size: .8rem; } dd { margin: 0; font-variant-numeric: tabular-nums; } dd b { font-size: 1.1rem; }
figure { margin: 1rem 0 0; } figcaption { margin-bottom: .3rem; }
details { margin-top: 1rem; } summary { cursor: pointer; } table { border-collapse: collapse; width: 100%; }
.wide { overflow-x: auto; } td, th { text-align: left; padding: .3rem .75rem .3rem 0; vertical-align: top; }
td { border-top: 1px solid var(--line); font-size: .875rem; } td:nth-child(-n+3) { white-space: nowrap; }
@media (max-width: 36rem) { .row { grid-template-columns: 1fr auto; gap: .1rem .75rem; margin: .6rem 0; }
  .several > .whole, .several > .times, .several > .legend { padding: 0; }
  .row > svg, .row > .axis { grid-row: 2; grid-column: 1 / 3; }
  td { display: block; border: 0; padding: 0; white-space: normal !important; }
  td:nth-child(2), td:nth-child(3) { display: inline-block; padding-right: .75rem; }
  tr { display: block; padding: .4rem 0;
  border-top: 1px solid var(--line); } thead { display: none; } td:first-child { color: var(--soft); } }
"""
