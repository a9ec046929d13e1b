/** Every error code that a DR client meets has an operator's sentence and a next step (xapi.md 10, 7.3). */
import t from 'tap';
import { entryOf, failureError, strike } from '../../src/adapters/xenapi/failures.ts';
import { storageFailures } from '../../src/adapters/xenapi/failures-storage.ts';
import { failureTable } from '../../src/adapters/xenapi/failures-table.ts';

const codes =
  `SESSION_AUTHENTICATION_FAILED SESSION_AUTHORIZATION_FAILED SESSION_INVALID RBAC_PERMISSION_DENIED HOST_IS_SLAVE
HOST_STILL_BOOTING HOST_IN_EMERGENCY_MODE HOST_HAS_NO_MANAGEMENT_IP HOST_UNKNOWN_TO_MASTER CANNOT_CONTACT_HOST HOST_OFFLINE
HOST_NOT_LIVE HANDLE_INVALID UUID_INVALID MESSAGE_METHOD_UNKNOWN MESSAGE_REMOVED MESSAGE_DEPRECATED
MESSAGE_PARAMETER_COUNT_MISMATCH FIELD_TYPE_ERROR XMLRPC_UNMARSHAL_FAILURE INVALID_VALUE VALUE_NOT_SUPPORTED MAP_DUPLICATE_KEY
DB_UNIQUENESS_CONSTRAINT_VIOLATION LICENCE_RESTRICTION FEATURE_RESTRICTED TASK_CANCELLED OTHER_OPERATION_IN_PROGRESS
OPERATION_BLOCKED OPERATION_NOT_ALLOWED PERMISSION_DENIED NOT_IMPLEMENTED Fault OPERATION_PARTIALLY_FAILED TOO_MANY_PENDING_TASKS
TOO_BUSY NOT_SUPPORTED_DURING_UPGRADE INTERNAL_ERROR IMPORT_INCOMPATIBLE_VERSION IMPORT_ERROR
IMPORT_ERROR_ATTACHED_DISKS_NOT_FOUND IMPORT_ERROR_FAILED_TO_FIND_OBJECT IMPORT_ERROR_PREMATURE_EOF IMPORT_ERROR_UNEXPECTED_FILE
IMPORT_ERROR_CANNOT_HANDLE_CHUNKED IMPORT_ERROR_SOME_CHECKSUMS_FAILED DUPLICATE_MAC_SEED VM_TO_IMPORT_IS_NOT_NEWER_VERSION
VDI_LOCATION_MISSING VDI_CONTENT_ID_MISSING VM_BAD_POWER_STATE VM_IS_TEMPLATE VM_IS_SNAPSHOT VM_IS_PROTECTED
VM_IS_PART_OF_AN_APPLIANCE VM_REQUIRES_SR VM_REQUIRES_NETWORK VM_REQUIRES_VDI VM_REQUIRES_GPU VM_REQUIRES_VGPU VM_REQUIRES_VUSB
VM_REQUIRES_IOMMU NO_HOSTS_AVAILABLE HOST_NOT_ENOUGH_FREE_MEMORY VM_SHUTDOWN_TIMEOUT VM_FAILED_SHUTDOWN_ACKNOWLEDGMENT
VM_LACKS_FEATURE VM_MISSING_PV_DRIVERS DOMAIN_EXISTS HOST_IS_LIVE HA_IS_ENABLED HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN
HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED HA_CONSTRAINT_VIOLATION_NETWORK_NOT_SHARED SR_UUID_EXISTS SR_UNKNOWN_DRIVER SR_HAS_PBD
SR_HAS_NO_PBDS SR_NOT_ATTACHED SR_ATTACH_FAILED SR_NOT_SHARABLE SR_DEVICE_IN_USE SR_OPERATION_NOT_SUPPORTED
UNIMPLEMENTED_IN_SM_BACKEND SR_FULL SR_SOURCE_SPACE_INSUFFICIENT SR_UNHEALTHY CLUSTERED_SR_DEGRADED SR_REQUIRES_UPGRADE
SR_BACKEND_FAILURE SM_PLUGIN_COMMUNICATION_FAILURE PBD_EXISTS VDI_IN_USE VDI_MISSING VDI_NOT_AVAILABLE VDI_NOT_MANAGED
VDI_READONLY VDI_INCOMPATIBLE_TYPE VDI_TOO_LARGE VDI_TOO_SMALL VDI_IO_ERROR LOCATION_NOT_UNIQUE COULD_NOT_IMPORT_DATABASE
CANNOT_ENABLE_REDO_LOG NO_MORE_REDO_LOGS_ALLOWED VDI_CONTAINS_METADATA_OF_THIS_POOL CANNOT_DESTROY_DISASTER_RECOVERY_TASK
DUPLICATE_VM RESTORE_INCOMPATIBLE_VERSION RESTORE_TARGET_MISSING_DEVICE RESTORE_TARGET_MGMT_IF_NOT_IN_BACKUP BRIDGE_NAME_EXISTS
BRIDGE_NOT_AVAILABLE HOST_CANNOT_ATTACH_NETWORK MAC_INVALID DEVICE_ALREADY_EXISTS INVALID_DEVICE VTPM_MAX_AMOUNT_REACHED
VM_HAS_VGPU VM_HAS_VUSBS VM_HAS_PCI_ATTACHED VM_HAS_SRIOV_VIF TLS_CONNECTION_FAILED SSL_VERIFY_ERROR`.split(
    /\s+/,
  );

const backendNumbers = [
  16, 24, 38, 39, 144, 40, 47, 43, 44, 46, 52, 58, 65, 66, 79, 67, 68, 69, 72, 73, 74, 75, 78, 80, 81, 82,
  109, 83, 84, 85, 86, 87, 89, 90, 91, 94, 95, 96, 97, 99, 101, 102, 103, 107, 108, 111, 112, 113, 115, 116,
  117, 119, 140, 141, 142, 180, 181, 200, 202, 1200, 220, 221, 222, 223, 224, 225, 226, 227, 228, 430, 431,
  432, 433, 434, 453, 454, 461, 457, 458, 459, 460, 12,
];

t.test('every code has a sentence and a next step', (t) => {
  for (const code of [...codes, ...backendNumbers.map((n) => `SR_BACKEND_FAILURE_${n}`)]) {
    const entry = entryOf(code);
    if (entry === null) {
      t.fail(`${code} is missing`);
      continue;
    }
    t.match(entry.code, /^DR-[A-Z0-9-]+$/, code);
    t.ok(/^[A-Z]/.test(entry.what) && !entry.what.endsWith('.'), `${code}: ${entry.what}`);
    t.ok(/^[A-Z]/.test(entry.next) && !entry.next.endsWith('.'), `${code}: ${entry.next}`);
    const error = failureError([code, 'first', 'second', 'third'], { site: 'tokyo', operation: 'VM.start' });
    t.equal(error.peerCode, code);
    t.match(error.message, /^site tokyo: /);
  }
  t.equal(new Set(backendNumbers).size, storageFailures.size, 'no number of the table was left out here');
  t.end();
});

t.test('codes that decide what happens next count rightly', (t) => {
  const kinds = {
    busy: [
      'OTHER_OPERATION_IN_PROGRESS',
      'HOST_STILL_BOOTING',
      'TOO_MANY_PENDING_TASKS',
      'TOO_BUSY',
      'VDI_IN_USE',
    ],
    auth: [
      'SESSION_AUTHENTICATION_FAILED',
      'SESSION_AUTHORIZATION_FAILED',
      'SESSION_INVALID',
      'RBAC_PERMISSION_DENIED',
    ],
    refused: [
      'OPERATION_BLOCKED',
      'LICENCE_RESTRICTION',
      'DUPLICATE_MAC_SEED',
      'IMPORT_ERROR',
      'HANDLE_INVALID',
    ],
    cancelled: ['TASK_CANCELLED'],
  };
  for (const [kind, list] of Object.entries(kinds))
    for (const code of list) t.equal(entryOf(code)?.kind, kind, code);
  for (const [code, entry] of failureTable)
    t.notOk(entry.kind === 'busy' && /^(IMPORT_|DUPLICATE_|OPERATION_BLOCKED|LICENCE_)/.test(code), code);
  t.end();
});

t.test('families and strangers', (t) => {
  const context = { site: 'tokyo', operation: 'VM.start' };
  t.equal(entryOf('HA_CONSTRAINT_VIOLATION_SOMETHING_NEW')?.code, 'DR-HA');
  t.equal(entryOf('IMPORT_ERROR_SOMETHING_NEW')?.code, 'DR-IMPORT');
  t.equal(entryOf('SR_BACKEND_FAILURE_9999')?.code, 'DR-SR-DRIVER');
  const stranger = failureError(['WHO_KNOWS', 'a', 'b'], context);
  t.match(stranger, {
    kind: 'refused',
    problem: {
      code: 'DR-POOL-ERROR',
      known: ['VM.start answered WHO_KNOWS', 'parameter 1: a', 'parameter 2: b'],
    },
  });
  t.end();
});

t.test('what is shown is short and holds no secret', (t) => {
  const context = { site: 'tokyo', operation: 'PBD.plug', secrets: ['s3cret', ''] };
  const error = failureError(
    ['SR_BACKEND_FAILURE_68', '', `password s3cret\n\trefused`, 'x'.repeat(5000)],
    context,
  );
  t.notMatch(JSON.stringify([error.message, error.problem, error.peerParams]), 's3cret');
  t.match(error.problem.known, [
    'PBD.plug answered SR_BACKEND_FAILURE_68',
    'reason: password *** refused',
    /^details: x{400}…$/,
  ]);
  t.strictSame(failureError(['SESSION_INVALID', 'OpaqueRef:key'], context).peerParams, []);
  t.equal(strike('a.b.a', ['a']), '***.b.***');
  t.end();
});

t.test('a failure wrapped in another is the one that is told', (t) => {
  const context = { site: 'tokyo', operation: 'PBD.plug' };
  const storage = failureError(
    ['INTERNAL_ERROR', 'Storage_error ([S(Internal_error);S(Server_error(SR_HAS_MULTIPLE_PBDS, [ a; b ]))])'],
    context,
  );
  t.match(storage, {
    peerCode: 'SR_HAS_MULTIPLE_PBDS',
    peerParams: ['a', 'b'],
    problem: { code: 'DR-SR-NOT-SHARED' },
  });
  const disguised = failureError(
    ['RBAC_PERMISSION_DENIED', 'http/get_export_raw_vdi', 'UUID_INVALID: [ VDI; 1234 ]'],
    context,
  );
  t.match(disguised, {
    peerCode: 'UUID_INVALID',
    peerParams: ['VDI', '1234'],
    problem: { code: 'DR-OBJECT-UNKNOWN' },
  });
  t.equal(failureError(['RBAC_PERMISSION_DENIED', 'http/get_export', 'not allowed'], context).kind, 'auth');
  t.equal(
    failureError(['INTERNAL_ERROR', 'Server_error(NOBODY_KNOWS, [ a ])'], context).problem.code,
    'DR-POOL-INTERNAL',
  );
  t.end();
});
