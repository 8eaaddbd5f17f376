/** Entry point `godwit/model`: defining models and working with definitions. Pure: no driver and no store. */
export * from './constructors.ts';
export * from './data.ts';
export { isEmbedded, isModel } from './brand.ts';
export { defineEmbedded, defineModel } from './define.ts';
export type { AnyEmbedded, AnyModel, Embedded, EmbeddedOptions } from './define.ts';
export type { IndexOptions, IndexPart, Model, ModelOptions } from './define.ts';
export type { AnyKey, AnyModels, InputOf, KeyNames, KeyOf, KeyScalar, RecordOf } from './infer.ts';
export { self } from './property.ts';
export type {
  ElementType,
  Properties,
  Property,
  PropertyOptions,
  ReferenceTarget,
  Self,
} from './property.ts';
