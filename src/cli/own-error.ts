export { isOwnError } from '../own-error.ts';
