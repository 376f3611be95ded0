import type { Page } from 'playwright-core';
import type { Pixels } from './indexed-png.ts';

/** Lets the browser unpack its own screenshot. @param page a blank one */
export async function pixelsOf(page: Page, png: Buffer): Promise<Pixels> {
  const { width, height, binary } = await page.evaluate(async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    const picture = await createImageBitmap(new Blob([bytes], { type: 'image/png' }));
    const context = new OffscreenCanvas(picture.width, picture.height).getContext('2d')!;
    context.drawImage(picture, 0, 0);
    const { data } = context.getImageData(0, 0, picture.width, picture.height);
    const text = Array.from(data, (byte) => String.fromCharCode(byte)).join('');
    return { width: picture.width, height: picture.height, binary: text };
  }, png.toString('base64'));
  return { width, height, rgba: Buffer.from(binary, 'latin1') };
}
