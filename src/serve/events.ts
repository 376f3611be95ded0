// The service tells of its groups on the channels of the library: its epochs are not the balancers'.
export { tell } from '../core/events.ts';
