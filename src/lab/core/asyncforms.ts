/**
 * Which messages have an `Async.` form. The data model's table does not say; the rule is that accessors, queries of a
 * whole class and the classes session, event, task and message have none, and neither have the queries listed here
 * (xapi.md 1.2, 2.1).
 */
import { classes, type MessageModel } from '../../metadata/datamodel/index.ts';

const noAsyncClasses = new Set(['session', 'event', 'task', 'message', 'user', 'data_source', 'auth']);

const syncOnly = new Set([
  'VM.get_allowed_VBD_devices',
  'VM.get_allowed_VIF_devices',
  'host.get_servertime',
  'host.get_server_localtime',
]);

const accessor = /^(?:get|set|add_to|remove_from|add|remove)_(.+)$/;

export function hasAsyncForm(cls: string, message: MessageModel): boolean {
  if (noAsyncClasses.has(cls) || syncOnly.has(`${cls}.${message.name}`)) return false;
  if (/^get_(?:all|all_records|all_records_where|record|by_uuid|by_name_label)$/.test(message.name))
    return false;
  const field = accessor.exec(message.name)?.[1];
  if (field === undefined) return true;
  const model = classes.get(cls)?.fields.get(field);
  return model === undefined || (message.name.startsWith('set_') && model.qualifier !== 'RW');
}
