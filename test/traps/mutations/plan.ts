import type { Mutation } from '../patch.ts';
import { by } from '../patch.ts';

const plans = 'integration/plan-migrations.test.ts';

/** Planning, which looks at everything and changes nothing. */
export const planMutations: readonly Mutation[] = [
  {
    mutation: 'a plan commits what is done through its reader',
    killer: by('unit/store/draw-records.test.ts', 'a reader commits nothing, whatever is done through it'),
    replacements: [
      {
        file: 'src/store/plan/reader.ts',
        find: 'return await body(tx);',
        replace: 'const result = await body(tx);\n            await tx.commit();\n            return result;',
      },
    ],
  },
  {
    mutation: 'a plan opens a directory as a store does',
    killer: by(
      'integration/engine-plan.test.ts',
      'a plan for a directory of the embedded engine leaves every file as it is to the byte, but that of readers',
    ),
    replacements: [
      {
        file: 'src/kv/open.ts',
        find: 'if (directory === undefined) return openDatabase(address, ports);',
        replace: 'if (directory === undefined || ports !== undefined) return openDatabase(address, ports);',
      },
    ],
  },
  {
    mutation: 'a sample tells what a transform threw, values and all',
    killer: by(
      'integration/plan-sample.test.ts',
      'a sample shows no value of a record unless properties are chosen',
    ),
    replacements: [
      {
        file: 'src/store/plan/tally.ts',
        find: 'const reason = withoutValues(message);',
        replace: 'const reason = message;\n    void withoutValues;',
      },
    ],
  },
  {
    mutation: 'a plan stops at the first thing that would be refused',
    killer: by(
      plans,
      'problems are listed all at once, with the models they are about, and open refuses for one of them',
    ),
    replacements: [
      {
        file: 'src/store/plan-migrations.ts',
        find: 'refused.push(error);',
        replace: '{\n        refused.push(error);\n        break;\n      }',
      },
    ],
  },
  {
    mutation: 'a publication is begun although the step behind it would be refused',
    killer: by(plans, 'problems are those of steps to come as well: a publication before them is not begun'),
    replacements: [
      {
        file: 'src/store/refuse-before-writing.ts',
        find: "(plan.type === 'publish' && stored !== undefined && model.steps.length > 0)",
        replace: "(plan.type === 'publish' && stored !== undefined && model.steps.length < 0)",
      },
    ],
  },
];
