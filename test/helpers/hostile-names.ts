/** What may be in no text that is printed. */
export const UNPRINTABLE = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}\p{Cs}\ufeff]/u;

/**
 * A name with sequences that clear and colour a terminal, line ends that would make a line of their own,
 * characters that turn the reading direction, and ones that none sees.
 */
export const HOSTILE =
  'a\u001b[2J\u001b[31m\neplb: ' +
  'forged\r\t\u0007\u007f\u0085\u009b31m\u2028\u2029\u061c\u200e\u200f\u202a\u202e\u2066\u2069\ufeffz';
