package import API
import Manifests

/// The room of moving: a whole MLflow comes in, and goes out again.
///
/// What comes in is read through one port, `MoveSource`, that three know: a SQLite file (`SQLiteSource`), a folder of MLflow's file
/// store (`FolderSource`), and a running server, MLflow's or ours (`ServerSource`). `MLflowImport` sends it to `Moves.*` and the artifact
/// proxy of our server, under its own ids. `MLflowExport` reads our server as a `ServerSource` and logs it to an MLflow server with the
/// calls that any client has, where runs get new ids and remember their old ones in tags.
///
/// Neither keeps a file of how far it came. Before anything is sent of a run, the other side is asked what it holds of it; one that is
/// whole is passed over. So both are begun again after any end, `kill -9` included, with the same command.
package protocol MoveSource: Sendable {
    /// What people call it.
    var name: String { get }

    /// Looks whether it can be read, and what is in it.
    ///
    /// - Throws: `Problem`, with what to do about it.
    func look() async throws -> SourceView

    /// All, deleted ones included.
    func experiments() async throws -> [MovedExperiment]

    /// Runs of an experiment without the points of their metrics, deleted ones included, some at a time.
    func runs(of experiment: MovedExperiment, _ body: ([SourceRun]) async throws -> Void) async throws

    /// The points of a run's metrics.
    func points(of run: SourceRun) async throws -> [MovedPoints]

    func loggedModels(of experiment: MovedExperiment) async throws -> [SourceModel]

    func registeredModels() async throws -> [MovedModel]

    /// The files of a run or logged model.
    func files(of owner: FileOwner) async throws -> FoundFiles

    /// Brings a file that does not lie on this machine's disk to `path`.
    func fetch(_ file: SourceFile, of owner: FileOwner, to path: String) async throws
}

/// What a source looks like before it is read.
package struct SourceView: Sendable {
    /// How many runs there are; nil when nobody has counted them.
    package var runs: Int?
    /// What is in it that is not moved, in words.
    package var notTaken: [String] = []
}

/// A run as its source has it.
package struct SourceRun: Sendable {
    /// Without points; its experiment is the source's number.
    package var run: MovedRun
    package var metrics = 0
    /// Nil: not known before the points are read.
    package var points: Int?
    package var artifactURI = ""
    /// Stages of the metrics, for sources that must ask for each.
    package var keys: [String] = []

    package var owner: FileOwner {
        FileOwner(id: run.id, experiment: run.experiment, address: artifactURI, isModel: false)
    }
}

package struct SourceModel: Sendable {
    package var model: MovedLoggedModel
    package var artifactURI = ""

    package var owner: FileOwner {
        FileOwner(id: model.id, experiment: model.experiment, address: artifactURI, isModel: true)
    }
}

/// What has files: a run or a logged model.
package struct FileOwner: Sendable, Hashable {
    package var id: String
    package var experiment: String
    /// Where the source says its files are.
    package var address: String
    package var isModel: Bool
}

/// A file of a run or logged model.
package struct SourceFile: Sendable, Hashable {
    /// Below the owner's artifacts.
    package var path: String
    package var bytes: Int64
    /// Where it lies on this machine; nil: it must be fetched.
    package var place: String?
}

/// Where the files of a run or logged model are.
package enum FoundFiles: Sendable {
    case here([SourceFile])
    /// In a bucket or the like, where they stay.
    case elsewhere
    /// They should be at a place that is not there.
    case missing(String)
}

/// Addresses that every client can reach as well as before: the files stay where they are.
enum Addresses {
    private static let remote: Set<String> = [
        "s3", "gs", "wasb", "wasbs", "abfss", "abfs", "hdfs", "viewfs", "dbfs", "ftp", "sftp", "http", "https", "r2",
        "b2", "oss",
    ]

    static func isRemote(_ address: String) -> Bool {
        guard let colon = address.firstIndex(of: ":") else { return false }
        return remote.contains(address[..<colon].lowercased())
    }

    /// The address to keep, when it is one that stays.
    static func kept(_ address: String) -> String? { isRemote(address) ? address : nil }

    /// The path below the artifact proxy, of an address that means it.
    static func proxied(_ address: String) -> String? {
        let scheme = "mlflow-artifacts:"
        guard address.hasPrefix(scheme) else { return nil }
        var rest = address.dropFirst(scheme.count)
        if rest.hasPrefix("//") { rest = rest.dropFirst(2).drop { $0 != "/" } }
        return String(rest.drop { $0 == "/" })
    }
}

/// MLflow's SQL stores keep infinity as the greatest number there is; what was logged is told again.
enum StoredNumber {
    static func value(_ number: Double) -> Double {
        guard number.magnitude == Double.greatestFiniteMagnitude else { return number }
        return number < 0 ? -.infinity : .infinity
    }
}
