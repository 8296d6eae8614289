package import Kernel

/// The room of serving: a model's answers over the field's two protocols.
///
/// What comes in: a model folder (`ModelBundle` of Learners), written by training and registered by Experiments. What goes
/// out: the Open Inference Protocol v2 and MLflow's scoring protocol, answered by ``ModelServer``; and, through
/// ``PredictionLog``, a line for each prediction that monitors read. Each copy of a model is a process of its own
/// (`vagus serve`), started, probed and stopped by Delivery like any other program, so this room owns no tables, tells no
/// events and runs no loops: it is the part of a served model that knows no HTTP library.
package struct ServingDomain: Domain {
    package static let name = "serving"
    package init(context: DomainContext) {}
    package func routes(_ routes: inout Routes) {}
}
