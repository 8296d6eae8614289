import Datasets
package import Kernel
import Training

/// Every worker there is.
package enum Workers {
    package static let all: [any Worker] = [
        IngestWorker(), ValidateWorker(), TransformWorker(), TrainWorker(), EvaluateWorker(),
    ]
}
