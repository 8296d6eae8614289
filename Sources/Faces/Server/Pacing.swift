import Hummingbird
import Logging
import NIOCore

/// A request's context that knows the event loop of its connection.
struct LoopContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    let loop: any EventLoop

    init(source: ApplicationRequestContextSource) {
        coreContext = .init(source: source)
        loop = source.channel.eventLoop
    }
}

extension Response {
    /// Bytes of a body that is small enough to be handed over at once.
    private static let whole = 1 << 20

    /// The same response, whose body is written no faster than its connection takes it.
    ///
    /// What is written from outside of the event loop lies in the loop's queue until the loop has a turn, and only then can
    /// the connection say that it has enough: on a busy machine a fast writer would queue a whole download before. So each
    /// piece waits until the loop has seen the one before it.
    func paced(by loop: any EventLoop) -> Response {
        if let length = body.contentLength, length <= Self.whole { return self }
        var paced = self
        paced.body = .init(contentLength: body.contentLength) { [body] writer in
            try await body.write(
                writer.map { piece in
                    try await loop.submit {}.get()
                    return piece
                })
        }
        return paced
    }
}
