import { type Case, on, testAll } from '../helpers/bad-input.ts';

const RECORDING_CASES: Case[] = [
  ['a missing file', on('none.npy'), 'FILE', /^recording: cannot read "none\.npy": there is no such file/],
  [
    'a directory without recordings',
    on('dir'),
    'FORMAT',
    /^recording: "dir" holds no file of a known format of loads/,
  ],
  ['a path through a file', on('good.npy/x'), 'FILE', /^recording: cannot read/],
  ['an empty .npy', on('empty.npy'), 'FORMAT', /^recording: "empty\.npy" is empty/],
  [
    'a truncated .npy',
    on('cut.npy'),
    'FORMAT',
    /truncated: shape \(2, 4\) of float32 needs 32 bytes of data, the file has 29/,
  ],
  ['a .npy with more behind', on('long.npy'), 'FORMAT', /2 bytes too many/],
  ['a bad magic', on('magic.npy'), 'FORMAT', /not a \.npy file: it begins with/],
  ['complex numbers', on('complex.npy'), 'FORMAT', /the type is "<c8"/],
  ['texts', on('text.npy'), 'FORMAT', /the type is "<U4"/],
  ['truth values', on('bool.npy'), 'FORMAT', /the type is "\|b1"/],
  ['an absurd shape', on('absurd.npy'), 'FORMAT', /truncated: shape \(1099511627776, 1099511627776, 4\)/],
  ['no layers', on('nothing.npy'), 'SHAPE', /shape \(0, 4\) holds nothing/],
  ['one dimension', on('flat.npy'), 'SHAPE', /shape \(8,\) has 1 dimensions/],
  [
    'loads of other experts',
    on('good.npy', '--experts', '5'),
    'SHAPE',
    /holds loads of 4 experts; --experts says 5/,
  ],
  [
    'a load that is NaN',
    on('nan.npy'),
    'LOAD',
    /^recording: "nan\.npy": load NaN at layer 1, expert 1; a load must be finite/,
  ],
  ['an infinite load', on('inf.npy'), 'LOAD', /load Infinity at layer 1, expert 1/],
  ['a negative load', on('negative.npy'), 'LOAD', /load -6 at layer 1, expert 1/],
  [
    'an expert id beyond --experts',
    on('routes.npy', '--experts', '3'),
    'RANGE',
    /^recording: "routes\.npy": expert id 3 at token 0, layer 1; ids go from 0 to 2/,
  ],
  ['a negative expert id', on('signed.npy', '--experts', '4'), 'RANGE', /expert id -3 at token 1, layer 1/],
  ['malformed JSON', on('cut.json'), 'FORMAT', /^recording: "cut\.json": malformed JSON/],
  ['ragged JSON', on('ragged.json'), 'SHAPE', /\[1\] has 3 entries; it must be an array of 4/],
  ['JSON with a text', on('kind.json'), 'KIND', /logical_count\[1\]\[1\] is the text "4"/],
  ['JSON of another kind', on('number.json'), 'KIND', /the JSON is 42/],
  ['JSON with a negative load', on('negative.json'), 'LOAD', /load -3 at layer 0, expert 2/],
  ['JSON with a load beyond float64', on('infinite.json'), 'LOAD', /load Infinity at layer 0, expert 2/],
  ['a placement as the recording', on('missing.json'), 'KIND', /physical_to_logical_map/],
];

const FROM_CASES: Case[] = [
  ['missing', on('good.npy', '--start-from', 'none.json'), 'FILE', /^--start-from: cannot read "none\.json"/],
  [
    'without an expert',
    on('good.npy', '--start-from', 'missing.json'),
    'MAPPING',
    /^--start-from: "missing\.json": .*layer 1.*expert 3/,
  ],
  [
    'with an expert that is none',
    on('good.npy', '--start-from', 'range.json'),
    'MAPPING',
    /^--start-from: "range\.json": .*layer 1/,
  ],
  [
    'with a fraction',
    on('good.npy', '--start-from', 'fraction.json'),
    'MAPPING|NOT_WHOLE',
    /^--start-from: "fraction\.json": .*0\.5/,
  ],
  [
    'of other slots',
    on('good.npy', '--start-from', 'width.json'),
    'SHAPE',
    /it has 2 layers and 4 slots; the plan has 2 layers and 6 slots/,
  ],
  [
    'of other layers',
    on('good.npy', '--start-from', 'layers.json'),
    'SHAPE',
    /it has 1 layer, the recording 2/,
  ],
  [
    'nested too deep',
    on('good.npy', '--start-from', 'deep.json'),
    'SHAPE',
    /^--start-from: .*must be \[layers\]\[physical\]/,
  ],
  [
    'of another kind',
    on('good.npy', '--start-from', 'words.json'),
    'KIND',
    /^--start-from: .*is the text "none"/,
  ],
  [
    'with another key',
    on('good.npy', '--start-from', 'other.json'),
    'FORMAT',
    /^--start-from: .*an object with the keys "map"/,
  ],
  [
    'malformed',
    on('good.npy', '--start-from', 'cut.json'),
    'FORMAT',
    /^--start-from: "cut\.json": malformed JSON/,
  ],
  [
    'a .npy',
    on('good.npy', '--start-from', 'good.npy'),
    'SHAPE',
    /^--start-from: "good\.npy": it has 2 layers and 4 slots/,
  ],
];

testAll('a wrong recording', RECORDING_CASES);
testAll('a wrong placement to start from', FROM_CASES);
