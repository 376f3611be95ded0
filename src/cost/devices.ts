/** A kind of device: peak figures, dense, of one device. */
interface Device {
  readonly name: string;
  /** Operations a second with weights of each kind; a kind that the device does not have is left out. */
  readonly bf16: number;
  readonly fp8?: number;
  readonly int8: number;
  /** Bytes a second from its memory. */
  readonly memory: number;
  /** Bytes a second to the other devices of a node, and to other nodes: one way. */
  readonly intraNode: number;
  readonly interNode: number;
}

/**
 * Published peak figures.
 *
 * - H100 SXM, H200: NVIDIA's data sheets: 1,979 TFLOPS of fp8 with dense matrices, half of it in bf16; memory
 *   of 3.35 and 4.8 TB/s; NVLink of 900 GB/s both ways together.
 * - B200: NVIDIA's data sheet of the HGX B200 at 1,000 W: 4,500 and 2,250 TFLOPS, 8 TB/s, NVLink of 1.8 TB/s.
 * - MI300X: AMD's data sheet: 2,614.9 and 1,307.4 TFLOPS, 5.3 TB/s, seven Infinity Fabric links of 128 GB/s
 *   both ways.
 * - Ascend 910B: Huawei publishes no data sheet. Half of an Ascend 910C, which holds two of its kind, by the
 *   paper on CloudMatrix384 (arXiv 2506.12708): 752 TFLOPS of bf16 and 3.2 TB/s for both; seven HCCS links of
 *   56 GB/s both ways, a network card of 200 Gbit/s. It has no fp8.
 *
 * The network of the others is a card of 400 Gbit/s for each device. docs/cost.md says which of these could
 * be compared with a public source, and with which.
 */
export const DEVICES: readonly Device[] = [
  {
    name: 'h100',
    bf16: 989.5e12,
    fp8: 1979e12,
    int8: 1979e12,
    memory: 3.35e12,
    intraNode: 450e9,
    interNode: 50e9,
  },
  {
    name: 'h200',
    bf16: 989.5e12,
    fp8: 1979e12,
    int8: 1979e12,
    memory: 4.8e12,
    intraNode: 450e9,
    interNode: 50e9,
  },
  {
    name: 'b200',
    bf16: 2250e12,
    fp8: 4500e12,
    int8: 4500e12,
    memory: 8e12,
    intraNode: 900e9,
    interNode: 50e9,
  },
  {
    name: 'mi300x',
    bf16: 1307.4e12,
    fp8: 2614.9e12,
    int8: 2614.9e12,
    memory: 5.3e12,
    intraNode: 448e9,
    interNode: 50e9,
  },
  {
    name: 'ascend-910b',
    bf16: 376e12,
    int8: 752e12,
    memory: 1.6e12,
    intraNode: 196e9,
    interNode: 25e9,
  },
];
