import Glibc

/// Holds threads back until it is opened: for bodies that block.
final class Gate: Sendable {
    nonisolated(unsafe) private let semaphore: UnsafeMutablePointer<sem_t>  // a semaphore is made for many threads

    init() {
        semaphore = .allocate(capacity: 1)
        sem_init(semaphore, 0, 0)
    }

    deinit {
        sem_destroy(semaphore)
        semaphore.deallocate()
    }

    func wait() { while sem_wait(semaphore) != 0 {} }
    func open() { sem_post(semaphore) }
}
