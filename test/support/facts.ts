/** The least that can be said of a VM and of a disk: tests name what matters to them, and nothing else. */
import type { VdiFacts, VmFacts } from '../../src/domain/pool.ts';

type Named = 'uuid' | 'nameLabel';

/** Running, with one virtual CPU and nothing attached. */
export function vmFacts(values: Pick<VmFacts, Named> & Partial<VmFacts>): VmFacts {
  return {
    nameDescription: '',
    powerState: 'Running',
    isTemplate: false,
    isSnapshot: false,
    snapshotOf: null,
    residentOn: null,
    affinity: null,
    tags: [],
    otherConfig: {},
    macSeed: null,
    version: 0,
    memoryStaticMax: 0,
    memoryDynamicMin: 0,
    memoryDynamicMax: 0,
    memoryOverhead: 0,
    vcpusAtStartup: 1,
    order: 0,
    startDelaySeconds: 0,
    shutdownDelaySeconds: 0,
    haRestartPriority: '',
    haAlwaysRun: false,
    applianceUuid: null,
    blockedOperations: {},
    domainType: 'hvm',
    vbds: [],
    vifs: [],
    vtpms: [],
    hasVgpu: false,
    suspendVdiUuid: null,
    guest: null,
    ...values,
  };
}

/** Attached, writable, bootable, the first of its VM. */
export function vbdFacts(uuid: string, vdiUuid: string): VmFacts['vbds'][number] {
  return {
    uuid,
    vdiUuid,
    userdevice: '0',
    type: 'Disk',
    mode: 'RW',
    empty: false,
    bootable: true,
    attached: true,
  };
}

/** An ordinary disk that can be written; its location is its uuid. */
export function vdiFacts(values: Pick<VdiFacts, 'uuid' | 'srUuid'> & Partial<VdiFacts>): VdiFacts {
  return {
    location: values.uuid,
    nameLabel: '',
    nameDescription: '',
    type: 'user',
    virtualSize: 1024,
    managed: true,
    missing: false,
    isASnapshot: false,
    snapshotOf: null,
    readOnly: false,
    smConfig: {},
    otherConfig: {},
    ...values,
  };
}
