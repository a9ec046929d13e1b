/** Failures of the storage manager as xapi passes them on (xapi.md 7.3); texts as recorded or as in its error table. */
import { fail } from '../core/failure.ts';

const texts: Readonly<Record<number, string>> = {
  16: 'The SR is currently in use',
  40: 'The SR scan failed',
  43: 'The VDI already exists',
  44: 'There is insufficient space',
  46: 'The VDI is not available',
  47: 'The SR is not available',
  52: 'Logical Volume mount/activate error',
  68: 'ISCSI login failed, verify CHAP credentials',
  73: 'NFS mount error',
  78: 'VDI creation failed',
  79: 'VDI Invalid size',
  90: 'The request is missing the device parameter',
  91: 'Device is not a valid path',
  94: 'The request is missing the location parameter',
  95: 'The request is missing the target parameter',
  96: 'The request is missing or has an incorrect target IQN parameter',
  101: 'The request is missing the serverpath parameter',
  102: 'The request is missing the server parameter',
  107: 'The SCSIid parameter is missing or incorrect',
  108: 'Unable to detect an NFS service on this target.',
  111: 'SMB mount error',
  119: 'PVs found with multiple SCSI ids',
  141: 'Unable to detect an iSCSI service on this target.',
  202: 'General backend error',
  220: "'Location' parameter must be specified in Device Configuration",
  222: 'Could not mount the directory specified in Device Configuration',
  224: 'Could not locate the ISO sharename on the target, or the access permissions may be incorrect.',
  225: 'Incorrect Location string format. String must be in the format SERVER:PATH for NFS targets, or \\\\SERVER\\PATH for CIFS targets',
  226: 'Invalid local path',
  1200: "[Errno 2] No such file or directory: '/sys/class/scsi_host'",
  461: 'The file system for SR cannot be written to.',
};

/** `SR_BACKEND_FAILURE_<n> ["", text [opterr=...], xml]`. */
export function backendFailure(number: number, detail = '', xml = ''): never {
  const text = texts[number] ?? 'General backend error';
  fail(`SR_BACKEND_FAILURE_${number}`, '', detail === '' ? text : `${text} [opterr=${detail}]`, xml);
}

/** A number that a driver chose by itself, with its own words. */
export function plainFailure(number: number, text: string): never {
  fail(`SR_BACKEND_FAILURE_${number}`, '', text, '');
}

/** An exception that a driver did not foresee: its text is all there is. */
export function pythonException(text: string): never {
  plainFailure(1200, text);
}

/** What xapi makes of an exception below the storage interface. */
export function storageError(inner: string, ...params: readonly string[]): never {
  const list = params.join('; ');
  fail('INTERNAL_ERROR', `Storage_error ([S(Internal_error);S(Server_error(${inner}, [ ${list} ]))])`);
}

/** The answer of drivers that cannot be probed. */
export function probeNotSupported(): never {
  storageError('SR_BACKEND_FAILURE', "Operation 'sr_probe' not supported by this SR type", '', '');
}

export function mountRefused(server: string): never {
  backendFailure(73, `mount failed on server \`${server}\` with return code 110`);
}
