// Readers of the published columns, a task each. Throws: as EvalTask::read.
#pragma once

#include <vector>

#include "qtune/tasks/eval_task.h"

namespace qtune {

/// question, choices.text, choices.label, answerKey; or AI2's form with question.stem and question.choices.
TaskItem read_arc(const DataRow& row);
/// question, answer. The gold is the whole answer (lm-eval), or the number behind "#### " (OpenCompass).
TaskItem read_gsm8k(const DataRow& row);
TaskItem read_opencompass_gsm8k(const DataRow& row);
/// title, context, question, answers.text; no text: unanswerable.
TaskItem read_squad(const DataRow& row);
/// question, answer.aliases
TaskItem read_triviaqa(const DataRow& row);
/// problem, solution with a \boxed answer
TaskItem read_math(const DataRow& row);

/// SQuAD's own file, one object with all articles under "data", as rows of the columns above.
std::vector<DataRow> unfold_squad(const DataRow& file);

}  // namespace qtune
