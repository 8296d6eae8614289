// Learners: what turns rows into predictions, and what makes it.
//
//   Transforms/   declarative features, fitted on the training split only. `FittedTransforms` is one artifact that
//                 training and serving both run, through one program, so that they cannot drift apart.
//   XGBoost/      gradient boosted trees by the library's C interface, loaded at run time by path.
//   Linear/       logistic and ridge regression, written here; they need no library.
//   ModelBundle   a folder with a model, its transforms and its signature: raw rows in, predictions out.
//
// Everything numeric crosses between them as a `Matrix`. All errors are `LearnerError`.
