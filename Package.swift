// swift-tools-version: 6.2
import PackageDescription

// The map of the house: a helper per floor, so that a wrong import does not even resolve.
// Floors, from the ground: System and Base, API, Kernel, Domains, Faces. See docs/internals/architecture.md.

let house: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]

let grdb = Target.Dependency.product(name: "GRDB", package: "GRDB.swift")
let sqlite = Target.Dependency.product(name: "GRDBSQLite", package: "GRDB.swift")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let cryptoExtras = Target.Dependency.product(name: "CryptoExtras", package: "swift-crypto")
let hummingbird = Target.Dependency.product(name: "Hummingbird", package: "hummingbird")
let mustache = Target.Dependency.product(name: "Mustache", package: "swift-mustache")
let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let asyncHTTPClient = Target.Dependency.product(name: "AsyncHTTPClient", package: "async-http-client")
let lifecycle: [Target.Dependency] = ["ServiceLifecycle", "UnixSignals"].map {
    .product(name: $0, package: "swift-service-lifecycle")
}
let httpTypes = Target.Dependency.product(name: "HTTPTypes", package: "swift-http-types")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let nio: [Target.Dependency] = ["NIOCore", "NIOPosix", "NIOHTTP1", "NIOFoundationCompat"].map {
    .product(name: $0, package: "swift-nio")
}
let http2: [Target.Dependency] = ["NIOHTTP2", "NIOHPACK"].map { .product(name: $0, package: "swift-nio-http2") }

/// Folders of reference values that tests read by their path.
let golden = ["Learners": ["Golden"], "Conversion": ["Files"], "PromQL": ["Cases"]]

/// One room: a target and the tests beside it.
func room(
    _ name: String, _ path: String, _ dependencies: [Target.Dependency], tests: [Target.Dependency] = [],
    exclude: [String] = []
) -> [Target] {
    [
        .target(
            name: name, dependencies: dependencies, path: "Sources/\(path)", exclude: exclude, swiftSettings: house),
        .testTarget(
            name: "\(name)Tests", dependencies: [.byName(name: name)] + dependencies + tests,
            path: "Tests/\(name)Tests", exclude: golden[name] ?? [], swiftSettings: house),
    ]
}

/// Knows nothing of vagus; each could be a package of its own.
func base(_ name: String, _ dependencies: [Target.Dependency] = [], exclude: [String] = []) -> [Target] {
    room(name, "Base/\(name)", dependencies, exclude: exclude)
}

/// Sees the kernel and the base libraries it names. Never another domain.
func domain(_ name: String, base: [Target.Dependency] = []) -> [Target] {
    room(name, "Domains/\(name)", ["API", "Kernel", "Manifests", "SQL", logging] + base, tests: ["KernelTesting"])
}

/// How people and programs meet the house.
func face(_ name: String, _ dependencies: [Target.Dependency], tests: [Target.Dependency] = []) -> [Target] {
    room(name, "Faces/\(name)", ["API", "Manifests"] + dependencies, tests: tests)
}

let domains: [Target.Dependency] = [
    "Datasets", "Delivery", "Experiments", "Monitors", "Pipelines", "Serving", "Telemetry", "Training", "Vault",
]

var targets: [Target] = [
    .systemLibrary(name: "CZlib", path: "Sources/System/CZlib"),
    .target(name: "CLinux", path: "Sources/System/CLinux"),
    .target(name: "CAssets", path: "Sources/System/CAssets", exclude: ["assets"]),
]
targets += base("Manifests", [yams])
targets += base("SQL", [grdb, sqlite])
targets += base("Globs")
targets += base("Processes", ["CLinux"])
targets += base("Blobs", ["CLinux", crypto])
targets += base("Stats")
targets += base("Frames", [crypto], exclude: ["Formats.md"])
targets += base("Learners", ["Frames", "Stats", "Manifests"])
targets += base("Expressions", ["Manifests"])
targets += base("Conversion", ["Manifests"])
targets += base(
    "Proxy",
    nio + [
        .product(name: "NIOSSL", package: "swift-nio-ssl"), .product(name: "NIOTLS", package: "swift-nio"), "Series",
        logging,
    ] + http2)
targets += base("Masking")
targets += base("Series")
targets += base("PromQL", ["Series"])
targets += base("TSDB", ["Series"], exclude: ["Formats.md"])
targets += base("Wire", ["Series", "CZlib"])
targets += base("Segments", ["CLinux", "CZlib"])
targets += base("LogStore", ["Segments", "Series"], exclude: ["Formats.md"])
targets += base("LogQL", ["LogStore", "Segments", "Series"])
targets += base("SpanStore", ["Segments", "Series"], exclude: ["Formats.md"])
targets += base("Points", ["Blobs", "Segments", "TSDB"], exclude: ["Formats.md"])
targets += base("Outbound", [asyncHTTPClient, .product(name: "NIOSSL", package: "swift-nio-ssl")] + nio)
targets += base("Kubernetes", ["Manifests", "Outbound"])
targets += room("API", "API", ["Manifests"])
targets += room("Kernel", "Kernel", ["API", "Manifests", "SQL", crypto, logging], tests: ["KernelTesting"])
targets += [
    .target(
        name: "KernelTesting", dependencies: ["API", "Kernel", "Manifests", "SQL", logging],
        path: "Sources/Testing/KernelTesting", swiftSettings: house)
]
targets += domain("Pipelines", base: ["Blobs", "Expressions", "Processes", "Globs", "Outbound", crypto])
targets += domain("Delivery", base: ["Processes", "Stats"])
targets += domain("Datasets", base: ["Frames", "Learners", "Blobs"])
targets += domain("Training", base: ["Frames", "Learners", "Stats", "Expressions", "Blobs"])
targets += domain("Experiments", base: ["Blobs", "Points", "Segments", "Wire", "Outbound", crypto])
targets += domain("Serving", base: ["Frames", "Learners"])
targets += domain("Monitors", base: ["Frames", "Stats", "Learners", "Blobs"])
targets += domain("Vault", base: [crypto, cryptoExtras])
targets += domain(
    "Telemetry",
    base: [
        "Series", "PromQL", "TSDB", "Wire", "Segments", "LogStore", "LogQL", "SpanStore", "Outbound", "Blobs", "Stats",
        crypto,
    ])
targets += face("Client", ["Outbound"])
targets += face("Moving", ["Client", "Outbound", "SQL"])
targets += face("Executors", ["Kernel", "Kubernetes", "Processes", "Outbound"])
targets += face(
    "Routers", ["Kernel", "Kubernetes", "Proxy", "Outbound", "Processes", "Stats", "Wire"] + nio + http2,
    tests: ["KernelTesting"])
targets += face(
    "Runner",
    ["Client", "Executors", "Kernel", "Processes", "Blobs", "Expressions", "Globs", "Masking", logging],
    tests: ["KernelTesting"])
targets += face("Web", ["Kernel", "CAssets", mustache])
targets += face(
    "Server",
    [
        "Kernel", "Kubernetes", "SQL", "Blobs", "Web", "Client", "Executors", "Routers", "Runner", "Proxy", "Outbound",
        "Processes",
        "Learners",
        "Stats",
        "Frames", hummingbird,
        httpTypes, logging,
    ] + lifecycle + nio + domains)
targets += face(
    "CLI",
    [
        "Client", "Server", "Routers", "Runner", "Kernel", "Kubernetes", argumentParser, logging, "Processes",
        "Outbound",
        "Conversion",
        "Moving",
    ])
targets += [
    .executableTarget(name: "vagus", dependencies: ["CLI"], path: "Sources/vagus", swiftSettings: house),
    .testTarget(
        name: "ScenarioTests",
        dependencies: [
            "API", "Kernel", "KernelTesting", "Manifests", "SQL", "Server", "Client", "Runner", "Blobs", "Processes",
            "Outbound", "Series", "Wire", logging,
        ] + domains,
        path: "Tests/ScenarioTests", swiftSettings: house),
    .testTarget(
        name: "ConformanceTests",
        dependencies: [
            "API", "Delivery", "Kernel", "KernelTesting", "Kubernetes", "Executors", "Manifests", "Processes",
            "Outbound",
            "Routers",
            "Proxy",
        ] + nio,
        path: "Tests/ConformanceTests", swiftSettings: house),
    .testTarget(name: "TidyTests", path: "Tests/TidyTests", swiftSettings: house),
]

// `VAGUS_ROOM=Delivery swift test` builds one room, its tests and what they stand on, and nothing else.
if let names = Context.environment["VAGUS_ROOM"], !names.isEmpty {
    let byName = Dictionary(uniqueKeysWithValues: targets.map { ($0.name, $0) })
    var wanted = Set<String>()
    var queue = names.split(separator: ",").flatMap { [String($0), "\($0)Tests"] }
    while let name = queue.popLast() {
        guard let target = byName[name], wanted.insert(name).inserted else { continue }
        for case .byNameItem(let dependency, _) in target.dependencies { queue.append(dependency) }
    }
    targets = targets.filter { wanted.contains($0.name) }
}

let package = Package(
    name: "vagus",
    dependencies: [
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/hummingbird-project/swift-mustache", from: "2.1.1"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
    ],
    targets: targets
)
