// A file of its own, which is loaded when the first archive is written.
export { ZipFile } from 'yazl';
