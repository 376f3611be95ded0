import Table from 'cli-table3';

/** A table without lines: columns alone read best with so many rows, and paste well. */
export function plainTable(colAligns: ('left' | 'right')[]) {
  const none = '';
  const chars = {
    top: none,
    'top-mid': none,
    'top-left': none,
    'top-right': none,
    bottom: none,
    'bottom-mid': none,
    'bottom-left': none,
    'bottom-right': none,
    left: none,
    'left-mid': none,
    mid: none,
    'mid-mid': none,
    right: none,
    'right-mid': none,
    middle: ' ',
  };
  return new Table({ chars, colAligns, style: { head: [], border: [], compact: true } });
}
