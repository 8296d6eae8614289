package import Kernel

/// Every worker there is.
package enum Workers {
    package static let all: [any Worker] = []
}
