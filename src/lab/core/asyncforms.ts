/**
 * Which messages have an `Async.` form: the data model's table does not say, so the messages whose declaration in xapi
 * 26.17 leaves the form out stand here. Accessors of fields and the queries that every class has are without it as well
 * (xapi.md 1.2, 2.1).
 */
import { classes, type MessageModel } from '../../metadata/datamodel/index.ts';

const syncOnly: ReadonlySet<string> = new Set(
  `
SR.forget_data_source_archives SR.get_data_sources SR.get_supported_types SR.query_data_source
SR.record_data_source SR.set_physical_size VDI.get_nbd_info VDI.set_read_only VDI.set_sharable
VM.add_to_NVRAM VM.add_to_other_config VM.add_to_platform VM.forget_data_source_archives
VM.get_allowed_VBD_devices VM.get_allowed_VIF_devices VM.get_boot_record VM.get_data_sources
VM.query_data_source VM.record_data_source VM.remove_from_NVRAM VM.remove_from_other_config
VM.remove_from_platform VM.set_HVM_boot_policy VM.set_HVM_shadow_multiplier VM.set_NVRAM
VM.set_VCPUs_at_startup VM.set_VCPUs_max VM.set_domain_type VM.set_ha_always_run
VM.set_ha_restart_priority VM.set_memory_dynamic_max VM.set_memory_dynamic_min VM.set_memory_static_max
VM.set_memory_static_min VM.set_other_config VM.set_platform VM.set_protection_policy
VM.set_snapshot_schedule VMPP.add_to_alarm_config VMPP.add_to_archive_schedule
VMPP.add_to_archive_target_config VMPP.add_to_backup_schedule VMPP.archive_now VMPP.get_alerts
VMPP.protect_now VMPP.remove_from_alarm_config VMPP.remove_from_archive_schedule
VMPP.remove_from_archive_target_config VMPP.remove_from_backup_schedule VMPP.set_alarm_config
VMPP.set_archive_frequency VMPP.set_archive_last_run_time VMPP.set_archive_schedule
VMPP.set_archive_target_config VMPP.set_archive_target_type VMPP.set_backup_frequency
VMPP.set_backup_last_run_time VMPP.set_backup_retention_value VMPP.set_backup_schedule
VMPP.set_is_alarm_enabled VMSS.add_to_schedule VMSS.remove_from_schedule VMSS.set_frequency
VMSS.set_last_run_time VMSS.set_retained_snapshots VMSS.set_schedule VMSS.set_type VMSS.snapshot_now
auth.get_group_membership auth.get_subject_identifier auth.get_subject_information_from_identifier
blob.create blob.destroy host.apply_edition host.backup_rrds host.disable_external_auth
host.disable_local_storage_caching host.emergency_clear_mandatory_guidance
host.emergency_disable_tls_verification host.emergency_ha_disable
host.emergency_reenable_tls_verification host.emergency_reset_server_certificate
host.enable_external_auth host.enable_local_storage_caching host.external_auth_set_ldaps
host.forget_data_source_archives host.get_data_sources host.get_server_localtime host.get_servertime
host.get_system_status_capabilities host.list_methods host.local_management_reconfigure
host.management_disable host.query_data_source host.record_data_source host.reset_cpu_features
host.set_cpu_features host.set_hostname_live host.shutdown_agent host.sync_data message.create
message.destroy message.get message.get_all message.get_all_records message.get_all_records_where
message.get_by_uuid message.get_record message.get_since pool.detect_nonhomogeneous_external_auth
pool.disable_external_auth pool.emergency_reset_master pool.emergency_transition_to_master
pool.enable_external_auth pool.enable_tls_verification pool.external_auth_set_ldaps
pool.get_guest_secureboot_readiness pool.ha_compute_hypothetical_max_host_failures_to_tolerate
pool.ha_compute_max_host_failures_to_tolerate pool.ha_compute_vm_failover_plan
pool.ha_failover_plan_exists pool.ha_prevent_restarts_for pool.set_ext_auth_max_threads
pool.set_local_auth_max_threads pool.test_archive_target role.get_by_permission
role.get_by_permission_name_label role.get_permissions role.get_permissions_name_label
session.change_password session.local_logout session.login_with_password session.logout
session.slave_local_login_with_password subject.add_to_roles subject.get_permissions_name_label
subject.remove_from_roles task.create task.destroy task.set_error_info task.set_progress task.set_result
task.set_status
`
    .trim()
    .split(/\s+/),
);

const wholeClass = /^get_(?:all|all_records|all_records_where|record|by_uuid|by_name_label)$/;
const accessor = /^(?:get|set|add_to|remove_from|add|remove)_(.+)$/;

export function hasAsyncForm(cls: string, message: MessageModel): boolean {
  if (cls === 'event' || syncOnly.has(`${cls}.${message.name}`) || wholeClass.test(message.name))
    return false;
  const field = accessor.exec(message.name)?.[1];
  const model = field === undefined ? undefined : classes.get(cls)?.fields.get(field);
  if (model === undefined) return true;
  // A setter of a field that is not plainly writable is a message of its own.
  return message.name.startsWith('set_') && model.qualifier !== 'RW';
}
