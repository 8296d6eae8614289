import Blobs
import Foundation
import Glibc
import Testing

@Suite(.timeLimit(.minutes(2))) struct WorkerThreadsTests {
    @Test func `work runs apart from the pool, each result goes to its caller`() async throws {
        let threads = WorkerThreads(name: "test", count: 3)
        let own = pthread_self()
        let sum = try await withThrowingTaskGroup(of: Int.self) { group in
            for number in 1...1000 {
                group.addTask {
                    try await threads.run {
                        #expect(pthread_equal(pthread_self(), own) == 0)
                        return number
                    }
                }
            }
            return try await group.reduce(0, +)
        }
        #expect(sum == 500_500)
    }

    @Test func `an error of the body rises`() async throws {
        struct Broken: Error {}
        await #expect(throws: Broken.self) {
            try await WorkerThreads.shared.run { () throws -> Int in throw Broken() }
        }
    }

    @Test func `threads end when their owner is dropped`() async throws {
        func count() throws -> Int {
            try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task").count { task in
                let name = FileManager.default.contents(atPath: "/proc/self/task/\(task)/comm") ?? Data()
                return name == Data("ephemeral\n".utf8)
            }
        }
        func becomes(_ wanted: Int) async throws -> Bool {
            let deadline = ContinuousClock.now + .seconds(30)
            while try count() != wanted && ContinuousClock.now < deadline { await Task.yield() }
            return try count() == wanted
        }
        do {
            let threads = WorkerThreads(name: "ephemeral", count: 4)
            #expect(try await threads.run { 7 } == 7)
            #expect(try await becomes(4))
        }
        #expect(try await becomes(0))
    }
}
